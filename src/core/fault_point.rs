//! The borders between two effects of the engine, by name: where a crash leaves one done and the next undone.
//!
//! The engine says when it reaches one (`Ports::reach`); tests end the process there. What each border leaves behind and
//! who goes on from there is the table "Failure points" of `docs/guarantees.md`.

/// A border between two effects, in the order in which a run meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultPoint {
    /// The ConnectorDO has opened the run; its SyncDO does not exist.
    AfterOpen,
    /// The SyncDO exists; history does not show the run.
    AfterCreate,
    /// History shows the run; whoever asked for it was not answered.
    AfterStart,
    /// The run changed and its alarm is set; no worker was woken.
    BeforeWake,
    /// An order is leased; nothing of it is done.
    AfterLease,
    /// The policy's decisions about new things are stored; the versions they are about are not.
    AfterSettle,
    /// Cursors of streams that must be read again are forgotten; what showed it is not yet recorded as seen.
    AfterForget,
    /// The versions of all streams are stored; the run does not know its streams.
    AfterVersions,
    /// The source's position is taken and the chunks are cut; nothing is stored.
    AfterPlan,
    /// The run is announced at the destination; its table is not what it must be, or half so.
    DuringDdl,
    /// The table is what it must be; its DestinationDO has not recorded that.
    AfterDdl,
    /// The chunk is claimed at the destination (or found unclaimed there); nothing is read.
    AfterClaim,
    /// A batch was read; the destination has nothing of it.
    AfterRead,
    /// The destination has taken a batch; more may follow.
    AfterStage,
    /// All rows of the chunk are stored; nothing says that they are complete.
    AfterPut,
    /// The chunk is durable; the run does not know.
    AfterCommit,
    /// All chunks of a table are durable; publishing has not begun.
    BeforePublish,
    /// What vanished is marked, or a step of that done and not noted; the table is not published.
    DuringPublish,
    /// The new manifest is in place; what it replaces is not swept.
    AfterSwap,
    /// The table is published, or a step of that done; the run does not know.
    AfterPublish,
    /// An order is done; its run does not know.
    BeforeReport,
    /// The run knows; history does not show it.
    AfterReport,
    /// Every order is settled; the end has not begun.
    BeforeClose,
    /// The ConnectorDO has moved the cursors and holds no live run; history calls the run running.
    AfterCursors,
    /// History shows the end; the SyncDO does not know that it is over.
    AfterHistory,
    /// The work of a queue message is done; the message was not acknowledged.
    BeforeAck,
    /// The message was acknowledged; the queue does not know, since the handler has not returned.
    AfterAck,
    /// The run was told to stop; nobody has closed it.
    AfterCancel,
    /// The definition of a connection is deleted; its objects are not.
    AfterDelete,
    /// A new definition is stored (configuration, schema settings, the destination's configuration); runs that were planned
    /// under the old one were not told.
    AfterEdit,
}

impl FaultPoint {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::AfterOpen,
        Self::AfterCreate,
        Self::AfterStart,
        Self::BeforeWake,
        Self::AfterLease,
        Self::AfterSettle,
        Self::AfterForget,
        Self::AfterVersions,
        Self::AfterPlan,
        Self::DuringDdl,
        Self::AfterDdl,
        Self::AfterClaim,
        Self::AfterRead,
        Self::AfterStage,
        Self::AfterPut,
        Self::AfterCommit,
        Self::BeforePublish,
        Self::DuringPublish,
        Self::AfterSwap,
        Self::AfterPublish,
        Self::BeforeReport,
        Self::AfterReport,
        Self::BeforeClose,
        Self::AfterCursors,
        Self::AfterHistory,
        Self::BeforeAck,
        Self::AfterAck,
        Self::AfterCancel,
        Self::AfterDelete,
        Self::AfterEdit,
    ];

    /// Its name in tests and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AfterOpen => "after_open",
            Self::AfterCreate => "after_create",
            Self::AfterStart => "after_start",
            Self::BeforeWake => "before_wake",
            Self::AfterLease => "after_lease",
            Self::AfterSettle => "after_settle",
            Self::AfterForget => "after_forget",
            Self::AfterVersions => "after_versions",
            Self::AfterPlan => "after_plan",
            Self::DuringDdl => "during_ddl",
            Self::AfterDdl => "after_ddl",
            Self::AfterClaim => "after_claim",
            Self::AfterRead => "after_read",
            Self::AfterStage => "after_stage",
            Self::AfterPut => "after_put",
            Self::AfterCommit => "after_commit",
            Self::BeforePublish => "before_publish",
            Self::DuringPublish => "during_publish",
            Self::AfterSwap => "after_swap",
            Self::AfterPublish => "after_publish",
            Self::BeforeReport => "before_report",
            Self::AfterReport => "after_report",
            Self::BeforeClose => "before_close",
            Self::AfterCursors => "after_cursors",
            Self::AfterHistory => "after_history",
            Self::BeforeAck => "before_ack",
            Self::AfterAck => "after_ack",
            Self::AfterCancel => "after_cancel",
            Self::AfterDelete => "after_delete",
            Self::AfterEdit => "after_edit",
        }
    }
}
