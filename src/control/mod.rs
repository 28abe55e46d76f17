//! The control plane: what the user defined, and projections of what the Durable Objects know, in one SQL database or,
//! divided by group, in several ([`databases`]).
//!
//! One file per repository, each an `impl ControlPlane`. Every write that must be seen whole is one
//! [`SqlDatabase::batch`]; reads never lock. Secrets enter and leave through [`vault`] only (invariant I6).

pub mod accounts;
pub mod api_keys;
pub mod certificates;
pub mod connections;
mod databases;
pub mod definitions;
pub mod deliveries;
pub mod destinations;
mod due;
pub mod groups;
mod hash_salts;
pub mod idempotency;
pub mod identity;
pub mod log_events;
pub mod memberships;
pub mod metrics;
pub mod page;
pub mod places;
mod projections;
pub mod receivers;
pub mod resealing;
mod retention;
pub(crate) mod row;
pub mod runs;
pub mod scope;
pub mod streams;
pub mod teams;
pub mod users;
pub mod vault;

use std::rc::Rc;

pub use connections::{Alert, Connection, DueChange, NewConnection, SetupState, SyncState, SyncStateChange};
pub use databases::MOST_DATABASES;
pub use destinations::DestinationRecord;
pub use log_events::{LogEvent, LogLevel};
pub use metrics::Metrics;
pub use page::{Keyset, Listing, Page};
pub use places::{ObjectKind, Placed};
pub use retention::Pruned;
pub use runs::{RunFinished, RunRecord, RunStarted, RunTask};
pub use scope::Scope;
pub use vault::{SealedJson, Vault};

use databases::{ALPHABET, Databases, ID_LETTERS};

use crate::core::Result;
use crate::core::redact::Secret;
use crate::ports::{Clock, Random, SqlDatabase};

/// The schema of the control plane; for tests and for databases migrated by hand. Deployments apply `migrations/`.
pub const SCHEMA: &str = concat!(
    include_str!("../../migrations/0001_control_plane.sql"),
    include_str!("../../migrations/0002_equation.sql"),
    include_str!("../../migrations/0003_scale.sql"),
    include_str!("../../migrations/0004_identity.sql"),
    include_str!("../../migrations/0005_receivers.sql"),
    include_str!("../../migrations/0006_settings_edits.sql"),
    include_str!("../../migrations/0007_resealing.sql"),
    include_str!("../../migrations/0008_certificates.sql"),
    include_str!("../../migrations/0009_deleted_connections.sql"),
    include_str!("../../migrations/0010_private_certificates.sql"),
);

/// Bits of randomness in an id: 80, so that a million objects collide with a chance below 10^-12.
const ID_BYTES: usize = 10;

/// The repositories.
#[derive(Clone)]
pub struct ControlPlane {
    databases: Databases,
    vault: Vault,
    clock: Rc<dyn Clock>,
    random: Rc<dyn Random>,
}

impl ControlPlane {
    /// Opens the control plane over one database. `vault_keys` is the Worker secret described at [`Vault::new`].
    ///
    /// # Errors
    /// [`InvalidInput`](crate::core::ErrorKind::InvalidInput) when the keys are malformed.
    pub fn new(
        db: Rc<dyn SqlDatabase>,
        vault_keys: &Secret,
        clock: Rc<dyn Clock>,
        random: Rc<dyn Random>,
    ) -> Result<Self> {
        let vault = Vault::new(vault_keys, random.clone())?;
        Ok(Self { databases: Databases { first: db, others: Rc::new([]) }, vault, clock, random })
    }

    /// Microseconds UTC.
    pub(crate) fn now(&self) -> i64 {
        self.clock.now_micros()
    }

    /// A fresh id: 16 lower-case letters and digits. Opaque, as Fivetran's two-word ids are to its clients; the
    /// alphabet is safe in paths, file names and Durable Object names.
    ///
    /// # Errors
    /// When the platform has no entropy.
    pub fn new_id(&self) -> Result<String> {
        let mut bytes = [0_u8; ID_BYTES];
        self.random.fill(&mut bytes)?;
        let bits = bytes.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        // Masked to five bits, so the index is always inside the 32 letters; `get` keeps the compiler sure of it.
        Ok((0..ID_LETTERS)
            .filter_map(|place| ALPHABET.get(((bits >> (place * 5)) & 31) as usize))
            .map(|letter| char::from(*letter))
            .collect())
    }
}
