//! The Worker's entry points.

use worker::{Context, Env, MessageBatch, Request, Response, ScheduleContext, ScheduledEvent, event};

use crate::engine::protocol::Message;

/// The queue consumer.
#[event(queue)]
async fn queue(batch: MessageBatch<Message>, env: Env, _context: Context) -> worker::Result<()> {
    crate::queue::consume(batch, env).await;
    Ok(())
}

/// Once a minute.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    let swept = async { crate::platform::engine(&env)?.sweep().await };
    if let Err(error) = swept.await {
        worker::console_error!("the sweep failed and is tried again in a minute: {}", error.chain());
    }
}

/// HTTP.
#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    crate::platform::web::answer(request, &env, &context).await
}
