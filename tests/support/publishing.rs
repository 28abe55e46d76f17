//! Publishing to the end, however many steps it takes.

use async_trait::async_trait;
use fivetran_do::core::Result;
use fivetran_do::core::run::Fence;
use fivetran_do::destinations::{Destination, DurableReceipt, Publishing, TableLoad, TableReceipt};

#[async_trait(?Send)]
pub trait PublishAll {
    /// Publishes, each step under a lease of its own, as the engine does it.
    async fn publish_all(
        &self,
        load: &TableLoad,
        chunks: &[DurableReceipt],
        fence: Fence,
    ) -> Result<TableReceipt>;
}

#[async_trait(?Send)]
impl<D: Destination + ?Sized> PublishAll for D {
    async fn publish_all(
        &self,
        load: &TableLoad,
        chunks: &[DurableReceipt],
        mut fence: Fence,
    ) -> Result<TableReceipt> {
        loop {
            match self.publish(load, chunks, fence).await? {
                Publishing::Done(receipt) | Publishing::Crowded(receipt) => return Ok(receipt),
                Publishing::GoesOn => fence.lease += 1,
            }
        }
    }
}
