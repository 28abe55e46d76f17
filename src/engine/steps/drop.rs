//! Dropping columns at the destination: what a person asked for is done by the next plan of their table.

use serde_json::json;

use crate::control::LogLevel;
use crate::core::error::ErrorReport;
use crate::core::fault_point::FaultPoint;
use crate::core::{ErrorKind, Result};
use crate::destinations::{Dropped, TableLoad};
use crate::engine::Engine;
use crate::engine::protocol::{DestinationReply, DestinationRequest, RunSpec, SelectedStream};
use crate::engine::remote::unexpected;

impl Engine {
    /// Drops the columns of a prepared table that a person asked to drop. True when the table must be read in full:
    /// its files hold the values until they are replaced. The cursor is forgotten then.
    ///
    /// The request is taken back last, so after a crash it is done again. A destination that cannot drop a column (an
    /// index of the user's needs it) keeps it, and the request: data must not stop flowing for that.
    ///
    /// # Errors
    /// When another run has taken over, or the control plane cannot be reached.
    pub(super) async fn drop_columns(
        &self,
        spec: &RunSpec,
        destination_id: &str,
        stream: &SelectedStream,
        load: &TableLoad,
    ) -> Result<bool> {
        if stream.selection.dropped.is_empty() {
            return Ok(false);
        }
        // Planned a while ago: whoever switched a column on meanwhile wants to keep it.
        let name = &stream.request.stream.name;
        let asked = self.control.columns_to_drop(&spec.connection_id, name).await?;
        let wanted = stream.selection.dropped.iter().filter(|column| asked.contains(&column.source));
        let columns = wanted.clone().map(|column| column.destination.clone()).collect::<Vec<_>>();
        if columns.is_empty() {
            return Ok(false);
        }
        let request = DestinationRequest::DropColumns {
            destination_id: destination_id.to_owned(),
            load: Box::new(load.clone()),
            columns: columns.clone(),
        };
        let details = json!({ "schema": load.table.schema, "table": load.table.table, "columns": columns });
        let dropped = match self.actors.destination(destination_id, request).await {
            Ok(DestinationReply::Dropped { dropped }) => dropped,
            Ok(_) => return Err(unexpected("DestinationDO")),
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Cancelled) => {
                return Err(error);
            }
            Err(error) => {
                let details = json!({ "what": details, "error": ErrorReport::from(&error) });
                self.log_run(LogLevel::Warning, "columns_not_dropped", spec, details);
                return Ok(false);
            }
        };
        self.ports.reach(FaultPoint::AfterDdl, &spec.run_id).await?;
        if dropped == Dropped::UntilFullLoad {
            self.forget_cursor(spec, name).await?;
        }
        self.log_drop(spec, &load.table, &columns).await?;
        for column in wanted {
            self.control.column_dropped(&spec.connection_id, name, &column.source).await?;
        }
        self.log_run(LogLevel::Info, "columns_dropped", spec, details);
        Ok(dropped == Dropped::UntilFullLoad)
    }
}
