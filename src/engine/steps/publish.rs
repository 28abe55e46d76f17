//! Publishing a table.

use serde_json::json;

use crate::control::LogLevel;
use crate::core::Result;
use crate::core::fault_point::FaultPoint;
use crate::destinations::{DurableReceipt, Publishing, TableLoad};
use crate::engine::Engine;
use crate::engine::open::require_planned;
use crate::engine::protocol::{Outcome, RunSpec};
use crate::engine::pulse::Pulse;

impl Engine {
    /// Makes the run's chunks the table's content, or does a step of that. The destination guards itself (compare-and-set, transaction and
    /// fence), so this needs no turn at the DestinationDO and tables publish in parallel.
    pub(in crate::engine) async fn publish(
        &self,
        spec: &RunSpec,
        pulse: &Pulse<'_>,
        definition: &str,
        load: &TableLoad,
        receipts: &[DurableReceipt],
    ) -> Result<Outcome> {
        // Telling what vanished from Parquet reads keys in bulk.
        pulse.take_turn().await;
        let connection = self.required_connection(&spec.connection_id).await?;
        let record = self.required_destination(&connection.group_id).await?;
        require_planned(definition, &connection, &record)?;
        let destination = self.open_destination(&record)?;
        self.ports.reach(FaultPoint::BeforePublish, &spec.run_id).await?;
        let publishing = destination.publish(load, receipts, pulse.fence()).await?;
        self.ports.reach(FaultPoint::AfterPublish, &spec.run_id).await?;
        Ok(match publishing {
            Publishing::Done(receipt) => Outcome::Published { receipt, crowded: false },
            Publishing::Crowded(receipt) => {
                let details = json!({ "schema": load.table.schema, "table": load.table.table });
                self.log_run(LogLevel::Info, "table_is_crowded_and_read_again_next_time", spec, details);
                Outcome::Published { receipt, crowded: true }
            }
            Publishing::GoesOn => Outcome::PublishGoesOn,
        })
    }
}
