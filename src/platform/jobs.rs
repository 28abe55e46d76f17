//! The queue of work orders: producer side, and the decoding of what the consumer receives.

use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::{Env, Queue, QueueContentType, RawMessage, RawMessageBuilder};

use super::border;
use crate::core::{Error, ErrorKind, Result};
use crate::engine::protocol::Message;

/// Name of the first queue's binding. Further ones, where one queue's 250 consumers are not enough, are bound as `JOBS_2`,
/// `JOBS_3` and so on without a gap.
const BINDING: &str = "JOBS";

/// Most queues looked for.
const MOST_QUEUES: usize = 32;

/// Most messages of one `sendBatch` (queues/platform/limits); of ours, of at most 200 bytes, no batch reaches 256,000 bytes.
const QUEUE_BATCH: usize = 100;

/// The producer. A message is JSON of at most 128,000 bytes.
pub struct JobQueue(Vec<Queue>);

impl JobQueue {
    /// The queues bound as `JOBS`, `JOBS_2`, ...
    ///
    /// # Errors
    /// When the Worker has no such binding.
    pub fn new(env: &Env) -> Result<Self> {
        let first = env.queue(BINDING).map_err(|_| {
            Error::internal(format!("The Worker has no queue bound as {BINDING}"))
                .remedy("Add [[queues.producers]] to wrangler.toml and deploy again")
        })?;
        let further = (2..=MOST_QUEUES).map_while(|number| env.queue(&format!("{BINDING}_{number}")).ok());
        Ok(Self(std::iter::once(first).chain(further).collect()))
    }

    /// Sends messages, each to the queue of its connection, delivered at least once.
    ///
    /// # Errors
    /// [`ErrorKind::DestinationUnavailable`] when a queue takes no messages now; some may have been sent then.
    pub async fn send(&self, messages: &[Message]) -> Result<()> {
        for (number, queue) in self.0.iter().enumerate() {
            let mine = messages
                .iter()
                .filter(|message| message.queue_of(self.0.len()) == number)
                .collect::<Vec<_>>();
            for batch in mine.chunks(QUEUE_BATCH) {
                let bodies: Vec<JsValue> =
                    batch.iter().map(|message| border::to_js(*message)).collect::<Result<_>>()?;
                let batch = bodies
                    .into_iter()
                    .map(|body| RawMessageBuilder::new(body).build_with_content_type(QueueContentType::Json))
                    .collect::<Vec<_>>();
                queue.send_raw_batch(batch).await.map_err(|error| failure(&error))?;
            }
        }
        Ok(())
    }
}

/// The body of a received message. Decode each message by itself: the batch-wide decoder of the `worker` crate fails
/// all messages for one that is malformed.
///
/// # Errors
/// When the body has another shape.
pub fn body<T: DeserializeOwned>(message: &RawMessage) -> Result<T> {
    border::from_js(&message.body())
}

fn failure(error: &worker::Error) -> Error {
    Error::new(
        ErrorKind::DestinationUnavailable,
        format!("A queue bound as {BINDING} took no message: {}", border::worker_text(error)),
    )
}
