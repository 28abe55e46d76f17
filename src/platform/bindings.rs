//! The Worker's bindings by the names users put into configurations.

use std::rc::Rc;

use worker::Env;

use super::objects::R2;
use super::sql::D1;
use crate::core::redact::Secret;
use crate::core::{Error, Result};
use crate::ports::{Bindings, ObjectStore, SqlDatabase};

/// Bindings of `env`.
pub struct WorkerBindings(Env);

impl WorkerBindings {
    /// Wraps the environment of an event.
    #[must_use]
    pub fn new(env: Env) -> Self {
        Self(env)
    }
}

impl Bindings for WorkerBindings {
    fn database(&self, binding: &str) -> Result<Rc<dyn SqlDatabase>> {
        let database = self.0.d1(binding).map_err(|_| missing("D1 database", binding, "d1_databases"))?;
        Ok(Rc::new(D1::new(database, binding)))
    }

    fn bucket(&self, binding: &str) -> Result<Rc<dyn ObjectStore>> {
        let bucket = self.0.bucket(binding).map_err(|_| missing("R2 bucket", binding, "r2_buckets"))?;
        Ok(Rc::new(R2::new(bucket, binding)))
    }

    fn hyperdrive(&self, binding: &str) -> Result<Secret> {
        let hyperdrive = self
            .0
            .hyperdrive(binding)
            .map_err(|_| missing("Hyperdrive configuration", binding, "hyperdrive"))?;
        Ok(Secret::new(hyperdrive.connection_string()))
    }
}

fn missing(what: &str, binding: &str, section: &str) -> Error {
    Error::invalid(format!("The Worker has no {what} bound as {binding}")).remedy(format!(
        "Add [[{section}]] with binding = \"{binding}\" to wrangler.toml and deploy again, or correct the name"
    ))
}
