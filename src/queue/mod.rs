//! The queue consumer: decodes messages, lets the engine work, acknowledges one by one.

use worker::{Env, MessageBatch, MessageExt, QueueRetryOptionsBuilder, RawMessage};

use crate::core::fault_point::FaultPoint;
use crate::engine::protocol::Message;
use crate::platform::jobs;

/// A message whose work could not even begin comes back after this many seconds.
const RETRY_SECONDS: u32 = 10;

/// Handles a batch. Never returns an error: the runtime would panic the isolate and redeliver the whole batch.
pub(crate) async fn consume(batch: MessageBatch<Message>, env: Env) {
    for message in batch.raw_iter() {
        match jobs::body::<Message>(&message) {
            // A message of a shape we do not know can never be handled; the sweep sends what is needed again.
            Err(error) => {
                worker::console_error!("unreadable queue message dropped: {}", error.chain());
                message.ack();
            }
            Ok(body) => match handle(&body, &env).await {
                Ok(()) => acknowledge(&message, &body, &env).await,
                Err(error) => {
                    worker::console_error!("queue message will be retried: {}", error.chain());
                    let delay = QueueRetryOptionsBuilder::new().with_delay_seconds(RETRY_SECONDS).build();
                    message.retry_with_options(&delay);
                }
            },
        }
    }
}

async fn handle(message: &Message, env: &Env) -> crate::core::Result<()> {
    crate::platform::engine(env)?.consume(message.clone()).await
}

/// Acknowledges, between two fault points. A test's failure there is a message that comes again.
async fn acknowledge(received: &RawMessage, message: &Message, env: &Env) {
    let ports = crate::platform::ports(env);
    let id = match message {
        Message::Start { connection_id, .. } => connection_id,
        Message::Work { run_id } => run_id,
        Message::Deliver => "deliveries",
    };
    if ports.reach(FaultPoint::BeforeAck, id).await.is_err() {
        return received.retry();
    }
    received.ack();
    // Nothing is left to fail: what a test answers here matters to nobody.
    let _ = ports.reach(FaultPoint::AfterAck, id).await;
}
