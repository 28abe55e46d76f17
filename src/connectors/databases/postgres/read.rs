//! Reads one chunk: a transaction of its own, a COPY, batches into the sink.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream as _;
use serde::Deserialize;
use tokio_postgres::CopyOutStream;

use super::config::Config;
use super::cursor::Xid;
use super::decode::Decoder;
use super::errors::{oversize_in, translate_reading};
use super::oversize::Limits;
use super::range::Range;
use super::session::Session;
use super::sql::{self, literal};
use super::types::{CatalogColumn, Passage};
use super::wire::WireNotes;
use crate::connectors::{BatchSink, StreamRequest};
use crate::core::run::Chunk;
use crate::core::{Error, ErrorKind, Result};

/// A chunk whose transaction is open: its table is locked against change of shape and is what was planned.
pub(super) struct OpenChunk {
    stream: String,
    /// What is copied.
    pub(super) select: String,
    /// The columns that come, and how.
    pub(super) columns: Vec<(String, Passage)>,
    /// Says what is too large.
    pub(super) limits: Rc<Limits>,
}

/// The table as it stands when a chunk is read.
#[derive(Deserialize)]
struct Standing {
    oid: u32,
    files: Vec<u32>,
    horizon: Xid,
    columns: Vec<CatalogColumn>,
}

/// Opens the chunk's transaction and checks the table against the plan.
///
/// # Errors
/// [`SourceChanged`](ErrorKind::SourceChanged) when the table or a column is not what was planned,
/// [`SourceUnavailable`](ErrorKind::SourceUnavailable) when the server is a replica that is behind the plan.
pub(super) async fn open(
    session: &mut Session,
    config: &Config,
    request: &StreamRequest,
    chunk: &Chunk,
) -> Result<OpenChunk> {
    let range = Range::of(chunk)?;
    let stream = request.stream.name.to_string();
    // The first SELECT takes the lock that keeps ALTER TABLE out until the transaction ends. Views keep the user's search
    // path, which functions in them may rely on.
    let sql = format!(
        "{begin}SET LOCAL search_path TO DEFAULT; SELECT FROM {relation} LIMIT 0; SET LOCAL search_path = pg_catalog; {standing}; \
         SET LOCAL search_path TO DEFAULT",
        begin = session.begin,
        relation = range.relation.quoted(),
        standing = standing_query(session.major_version, &range),
    );
    let rows = session.query(&sql, &format!("opening {stream}")).await?;
    let standing: Standing = match rows.first() {
        Some(row) => sql::understood(row)?,
        None => return Err(changed(format!("{stream} is not there any more"))),
    };
    if standing.oid != range.relation.oid {
        return Err(changed(format!("{stream} was replaced by another table of the same name")));
    }
    if range.pages.is_some() && standing.files != range.files {
        return Err(changed(format!(
            "{stream} was rewritten (VACUUM FULL, CLUSTER, TRUNCATE) while it was read"
        )));
    }
    if standing.horizon < range.horizon {
        let message =
            format!("The server that answered for {stream} is a replica behind the one that planned it");
        return Err(Error::new(ErrorKind::SourceUnavailable, message)
            .remedy("It is tried again; let host name one server rather than a group of replicas"));
    }
    let columns = passages(&standing.columns, config, request)?;
    let expressions: Vec<String> = columns.iter().map(|(name, passage)| passage.expression(name)).collect();
    let limits = Rc::new(Limits::new(&request.stream, columns.clone()));
    Ok(OpenChunk { stream, select: range.select(&expressions), columns, limits })
}

/// Reads an open chunk to its end and returns the number of rows.
///
/// # Errors
/// When the server fails, a value cannot be carried, rows are missing, or the sink refused.
pub(super) async fn read(session: &mut Session, chunk: OpenChunk, sink: &mut dyn BatchSink) -> Result<u64> {
    let OpenChunk { stream, select, columns, limits } = chunk;
    let during = format!("reading {stream}");
    let explain = |error: tokio_postgres::Error| match oversize_in(&error) {
        Some(oversize) => limits.error(oversize),
        None => translate_reading(error, &during),
    };
    let copy = session.copy_out(&format!("COPY ({select}) TO STDOUT (FORMAT binary)")).await;
    let mut copy = copy.map_err(explain)?;
    let mut decoder = Decoder::new(stream.clone(), columns, Rc::clone(&limits));
    let mut held = None;
    let notes = session.notes();
    loop {
        let filled =
            poll_fn(|cx| session.poll(cx, |cx| fill(&mut decoder, &mut copy, &mut held, &notes, cx))).await;
        let more = filled.map_err(explain)??;
        if let Some(batch) = decoder.take_batch()? {
            sink.batch(batch).await?;
        }
        if !more {
            break;
        }
    }
    drop(copy);
    if !decoder.is_complete() {
        let message = format!("The data of {stream} ended before its trailer");
        return Err(Error::new(ErrorKind::SourceUnavailable, message).remedy("It is read again"));
    }
    // The COMMIT's answer comes after COPY's own completion, which holds the server's count (I5).
    session.query("COMMIT", &during).await?;
    let arrived = decoder.total();
    match session.copied() {
        Some(sent) if sent == arrived => {
            sink.source_counted(sent);
            Ok(arrived)
        }
        Some(sent) => Err(Error::new(
            ErrorKind::Mismatch,
            format!("The server sent {sent} rows of {stream}, {arrived} arrived"),
        )),
        None => Err(Error::new(
            ErrorKind::Mismatch,
            format!("The server did not say how many rows of {stream} it sent; {arrived} arrived"),
        )),
    }
}

/// Decodes what has arrived. Ready with true when a batch is full, with false at the end. A large row that would make the
/// batch too large is held for the next one.
fn fill(
    decoder: &mut Decoder,
    copy: &mut Pin<Box<CopyOutStream>>,
    held: &mut Option<Bytes>,
    notes: &WireNotes,
    cx: &mut Context<'_>,
) -> Poll<std::result::Result<Result<bool>, tokio_postgres::Error>> {
    loop {
        let next = match held.take() {
            Some(bytes) => Poll::Ready(Some(Ok(bytes))),
            None => copy.as_mut().poll_next(cx),
        };
        match next {
            Poll::Ready(Some(Ok(bytes))) => {
                if !decoder.has_room_for(bytes.len()) {
                    *held = Some(bytes);
                    return Poll::Ready(Ok(Ok(true)));
                }
                notes.taken(bytes.len());
                if let Err(error) = decoder.feed(&bytes) {
                    return Poll::Ready(Ok(Err(error)));
                }
                if decoder.is_full() {
                    return Poll::Ready(Ok(Ok(true)));
                }
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(None) => return Poll::Ready(Ok(Ok(false))),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// How each requested column travels, checked against the types the destination was prepared for.
fn passages(
    standing: &[CatalogColumn],
    config: &Config,
    request: &StreamRequest,
) -> Result<Vec<(String, Passage)>> {
    let name = &request.stream.name;
    let passage = |column: &String| {
        let planned =
            request.stream.columns.iter().find(|planned| planned.name == *column).ok_or_else(|| {
                Error::internal(format!(
                    "Column {column} was requested but {name} was not discovered to have it"
                ))
            })?;
        let now = standing
            .iter()
            .find(|now| now.name == *column)
            .ok_or_else(|| changed(format!("Column {column} of {name} is not there any more")))?;
        let passage = Passage::of(now, config.numeric_as_text);
        if passage.column_type != planned.column_type {
            let (was, is) = (&planned.source_type, &now.declared);
            return Err(changed(format!("Column {column} of {name} changed its type from {was} to {is}")));
        }
        Ok((column.clone(), passage))
    };
    request.columns.iter().map(passage).collect()
}

fn changed(message: String) -> Error {
    Error::new(ErrorKind::SourceChanged, message).remedy("The table is planned again with its new shape")
}

fn standing_query(major_version: u32, range: &Range) -> String {
    format!(
        "WITH RECURSIVE {domains}, target AS (\
           SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
           WHERE n.nspname = {schema} AND c.relname = {table}), \
         tree(member) AS (SELECT oid FROM target UNION ALL \
           SELECT i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.member) \
         SELECT json_build_object('oid', c.oid::int8, 'horizon', {horizon}, 'columns', {columns}, 'files', \
           (SELECT coalesce(json_agg(coalesce(pg_relation_filenode(m.oid)::int8, 0) ORDER BY m.oid), '[]') \
            FROM tree t JOIN pg_class m ON m.oid = t.member WHERE m.relkind IN ('r', 'm'))) FROM target c",
        domains = sql::DOMAINS,
        horizon = sql::horizon(major_version),
        columns = sql::columns(major_version),
        schema = literal(&range.relation.schema),
        table = literal(&range.relation.table),
    )
}
