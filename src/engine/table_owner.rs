//! Whose a destination table is.
//!
//! The schema a table lands in is made of the connection's prefix and the source's schema, so two connections may meet:
//! prefix `a` with schema `b_c`, and prefix `a_b` with schema `c`. Two destinations may be one place, too, a database or a
//! bucket. So the owner is asked where the table is, and announcing a run of another connection fails there.

use crate::control::ControlPlane;
use crate::core::Result;
use crate::destinations::{Destination, Standing, TableLoad, taken};

/// Sees that the load's connection owns its table, or may. A table whose owner was deleted is free to take: that is how a
/// connection made anew goes on with its tables.
///
/// # Errors
/// [`DestinationConfig`](crate::core::ErrorKind::DestinationConfig) when the table is another living connection's; the
/// destination's and the control plane's.
pub(super) async fn claim(
    destination: &dyn Destination,
    standing: Option<&Standing>,
    load: &TableLoad,
    control: &ControlPlane,
) -> Result<()> {
    let Some(standing) = standing.filter(|standing| standing.owner != load.connection_id) else {
        return Ok(());
    };
    if control.connection(&standing.owner).await?.is_some() {
        return Err(taken(&load.table, &standing.owner));
    }
    destination.take_over(load, &standing.owner).await
}
