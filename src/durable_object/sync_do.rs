//! `SyncDo`: one per run.

use worker::{DurableObject, Env, Request, Response, ScheduledTime, State, durable_object};

use super::{erase, serve};
use crate::core::fault_point::FaultPoint;
use crate::core::{Error, Result};
use crate::engine::protocol::{Message, SyncReply, SyncRequest};
use crate::engine::sync::{Effects, Sync};
use crate::platform::jobs::JobQueue;
use crate::platform::{DurableSql, WorkerClock, ports};
use crate::ports::Clock;

/// An alarm that is due already is set this much ahead, so that it fires after the current event.
const SOON_MS: i64 = 50;

/// An alarm may be late by up to a minute (durable-objects/api/alarms); one that is later is not believed in any more.
const LOST_ALARM_MS: i64 = 120_000;

/// Shell around [`Sync`]: storage, clock, alarm and queue.
#[durable_object(alarm)]
pub struct SyncDo {
    state: State,
    env: Env,
}

impl DurableObject for SyncDo {
    fn new(state: State, env: Env) -> Self {
        Self { state, env }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        serve(request, async |input: SyncRequest| {
            let sql = self.sql();
            let sync = Sync::new(&sql)?;
            let reply = sync.handle(input, WorkerClock.now_micros());
            // After a refused report too: time has passed, and a lease may have run out.
            let effects = sync.effects(WorkerClock.now_micros())?;
            let run_id = sync.run_id()?;
            self.apply(effects, run_id.as_deref()).await?;
            reply as Result<SyncReply>
        })
        .await
    }

    /// Never throws: an alarm that throws six times is dropped by the platform. What fails here, the alarm set below
    /// or the sweep of the cron tries again.
    async fn alarm(&self) -> worker::Result<Response> {
        if let Err(error) = self.tick().await {
            worker::console_error!("alarm of a run: {}", error.chain());
            let _ = self.state.storage().set_alarm(60_000_i64).await;
        }
        Response::ok("")
    }
}

impl SyncDo {
    fn sql(&self) -> DurableSql {
        DurableSql::new(self.state.storage().sql())
    }

    async fn tick(&self) -> Result<()> {
        let sql = self.sql();
        let sync = Sync::new(&sql)?;
        let effects = sync.effects(WorkerClock.now_micros())?;
        let run_id = sync.run_id()?;
        self.apply(effects, run_id.as_deref()).await
    }

    /// Sets the alarm, unless it rings before that anyway: then it finds nothing to do and is set anew. Setting it costs as
    /// much as a written row, and every order moves the time.
    async fn ring(&self, at: i64) -> Result<()> {
        let storage = self.state.storage();
        let now = WorkerClock.now_micros();
        let in_ms = at.saturating_sub(now).div_euclid(1_000).max(SOON_MS);
        let when = now.div_euclid(1_000).saturating_add(in_ms);
        let set = storage.get_alarm().await.map_err(|error| failed("look at its alarm", &error))?;
        // An alarm whose time is long past was lost by the platform.
        if set.is_some_and(|set| set <= when && set > now.div_euclid(1_000).saturating_sub(LOST_ALARM_MS)) {
            return Ok(());
        }
        storage.set_alarm(ScheduledTime::from(in_ms)).await.map_err(|error| failed("set an alarm", &error))
    }

    async fn apply(&self, effects: Effects, run_id: Option<&str>) -> Result<()> {
        if effects.purge {
            return erase(&self.state).await;
        }
        // The alarm first: should the queue refuse the messages, the alarm sends them again.
        if let Some(at) = effects.alarm_at {
            self.ring(at).await?;
        }
        if let (Some(run_id), true) = (run_id, effects.wake > 0) {
            ports(&self.env).reach(FaultPoint::BeforeWake, run_id).await?;
            let wakes =
                (0..effects.wake).map(|_| Message::Work { run_id: run_id.to_owned() }).collect::<Vec<_>>();
            JobQueue::new(&self.env)?.send(&wakes).await?;
        }
        Ok(())
    }
}

fn failed(what: &str, error: &worker::Error) -> Error {
    Error::internal(format!("the object of a run could not {what}: {error}"))
}
