//! Fault points in workerd: a test binds a service as `FAULTS` and is asked at each border what shall happen.
//!
//! `wrangler.toml` never has that binding, so a deployed Worker tells nobody.

use std::rc::Rc;

use async_trait::async_trait;
use worker::{Env, Fetcher, Method, RequestInit};

use super::border;
use crate::core::fault_point::FaultPoint;
use crate::core::{Error, ErrorKind, Result};
use crate::ports::Faults;

/// Name of the test's binding.
const BINDING: &str = "FAULTS";

/// The test's binding, if there is one.
pub(super) fn faults(env: &Env) -> Option<Rc<dyn Faults>> {
    let service = env.service(BINDING).ok()?;
    Some(Rc::new(ServiceFaults(service)))
}

struct ServiceFaults(Fetcher);

#[async_trait(?Send)]
impl Faults for ServiceFaults {
    /// Waits for the test's answer, or for the end of the process. Any status but 200 is an error here.
    async fn reach(&self, point: FaultPoint, id: &str) -> Result<()> {
        let mut init = RequestInit::new();
        init.with_method(Method::Post);
        let failed = |why: &str| {
            Error::new(ErrorKind::DestinationUnavailable, format!("a test let {} fail: {why}", point.name()))
        };
        let url = format!("https://faults/{}/{id}", point.name());
        match self.0.fetch(url, Some(init)).await {
            Ok(response) if response.status_code() == 200 => Ok(()),
            Ok(response) => Err(failed(&response.status_code().to_string())),
            Err(error) => Err(failed(&border::worker_text(&error))),
        }
    }
}
