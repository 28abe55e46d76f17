//! What can happen.

use fivetran_do::core::fault_point::FaultPoint;
use proptest::prelude::*;

use crate::support::ledger::IDS;
use crate::support::world::Trap;

#[derive(Clone, Debug)]
pub enum Event {
    /// Rows are written and committed at once.
    Commit(Vec<(i64, u8)>),
    /// A transaction writes, and stays open.
    Open(i64, u8),
    /// The oldest open transaction commits.
    CommitLate,
    DeleteRow(i64),
    /// The source breaks in the middle of the next reads.
    SourceFails(u8),
    /// A column appears at the source, or goes.
    Reshape(bool),
    /// A queue message reaches a worker.
    Deliver(usize),
    /// A queue message reaches a worker and stays on the queue.
    DeliverTwice(usize),
    Lose(usize),
    /// A queue message is held back that many seconds.
    Delay(usize, u16),
    /// A worker gets that far.
    Work(usize, u8),
    /// A worker dies where it stands.
    Kill(usize),
    /// A trap for whoever reaches that point next.
    Trap(FaultPoint, Trap),
    /// The process ends: workers die, the queue forgets everything. What is stored stays.
    Restart,
    /// Objects lose what they hold in memory.
    Evict,
    /// Time passes; alarms fire.
    Seconds(u16),
    /// More than a day passes: finished runs are purged.
    Day,
    /// The clock was ahead by so many seconds and is put right.
    ClockBack(u16),
    Sweep,
    Start,
    /// Two at once.
    StartTwice,
    Force,
    Resync,
    Pause,
    Unpause,
    /// The configuration is saved anew.
    Edit,
    /// The schema settings are saved anew.
    EditSettings,
    /// The connection is deleted, and another one made in its place once it is gone.
    DeleteConnection,
}

/// Points that the model's own objects pass; the others belong to shells it does not have.
fn point() -> impl Strategy<Value = FaultPoint> {
    let passed = |point: &FaultPoint| {
        !matches!(point, FaultPoint::BeforeWake | FaultPoint::BeforeAck | FaultPoint::AfterAck)
    };
    prop::sample::select(FaultPoint::ALL.into_iter().filter(passed).collect::<Vec<_>>())
}

pub fn event() -> impl Strategy<Value = Event> {
    let id = 0..IDS;
    prop_oneof![
        4 => prop::collection::vec((id.clone(), any::<u8>()), 1..4).prop_map(Event::Commit),
        2 => (id.clone(), any::<u8>()).prop_map(|(id, value)| Event::Open(id, value)),
        2 => Just(Event::CommitLate),
        1 => id.prop_map(Event::DeleteRow),
        1 => (1..4_u8).prop_map(Event::SourceFails),
        1 => any::<bool>().prop_map(Event::Reshape),
        8 => any::<usize>().prop_map(Event::Deliver),
        2 => any::<usize>().prop_map(Event::DeliverTwice),
        1 => any::<usize>().prop_map(Event::Lose),
        1 => (any::<usize>(), 1..400_u16).prop_map(|(which, seconds)| Event::Delay(which, seconds)),
        16 => (any::<usize>(), 1..60_u8).prop_map(|(worker, borders)| Event::Work(worker, borders)),
        2 => any::<usize>().prop_map(Event::Kill),
        3 => point().prop_map(|point| Event::Trap(point, Trap::Kill)),
        1 => point().prop_map(|point| Event::Trap(point, Trap::Fail)),
        1 => Just(Event::Restart),
        1 => Just(Event::Evict),
        4 => (1..200_u16).prop_map(Event::Seconds),
        1 => prop_oneof![1..60_u16, 3_600..20_000_u16].prop_map(Event::ClockBack),
        2 => Just(Event::Sweep),
        2 => Just(Event::Start),
        1 => Just(Event::StartTwice),
        1 => Just(Event::Force),
        1 => Just(Event::Resync),
        1 => prop_oneof![3 => Just(Event::Pause), 3 => Just(Event::Unpause), 3 => Just(Event::Edit),
            3 => Just(Event::EditSettings), 2 => Just(Event::DeleteConnection), 1 => Just(Event::Day)],
    ]
}
