//! The queue of work orders: producer side, and the decoding of what the consumer receives.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::{Env, Queue, QueueContentType, RawMessage, RawMessageBuilder};

use super::border;
use crate::core::{Error, ErrorKind, Result};

/// Name of the queue's binding.
const BINDING: &str = "JOBS";

/// Longest delay that Queues accepts, in seconds (12 hours).
const LONGEST_DELAY_SECONDS: u32 = 43_200;

/// The producer. A message is JSON of at most 128,000 bytes.
pub struct JobQueue(Queue);

impl JobQueue {
    /// The queue bound as `JOBS`.
    ///
    /// # Errors
    /// When the Worker has no such binding.
    pub fn new(env: &Env) -> Result<Self> {
        env.queue(BINDING).map(Self).map_err(|_| {
            Error::internal(format!("The Worker has no queue bound as {BINDING}"))
                .remedy("Add [[queues.producers]] to wrangler.toml and deploy again")
        })
    }

    /// Sends one message, delivered after the delay at the earliest, at least once.
    ///
    /// # Errors
    /// [`ErrorKind::DestinationUnavailable`] when the queue takes no messages now.
    pub async fn send<T: Serialize>(&self, message: &T, delay_seconds: u32) -> Result<()> {
        let message = RawMessageBuilder::new(border::to_js(message)?)
            .delay_seconds(delay_seconds.min(LONGEST_DELAY_SECONDS))
            .build_with_content_type(QueueContentType::Json);
        self.0.send_raw(message).await.map_err(|error| failure(&error))
    }

    /// Sends up to 100 messages of together at most 256,000 bytes in one call.
    ///
    /// # Errors
    /// As [`JobQueue::send`]; none is sent then.
    pub async fn send_all<T: Serialize>(&self, messages: &[T]) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let bodies: Vec<JsValue> = messages.iter().map(border::to_js).collect::<Result<_>>()?;
        let batch = bodies
            .into_iter()
            .map(|body| RawMessageBuilder::new(body).build_with_content_type(QueueContentType::Json))
            .collect::<Vec<_>>();
        self.0.send_raw_batch(batch).await.map_err(|error| failure(&error))
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
        format!("The queue {BINDING} took no message: {}", border::worker_text(error)),
    )
}
