//! The databases of the control plane, and which of them an object lives in.
//!
//! One database answers some 77 small runs a second (docs/scale.md), so a deployment may bind several. What belongs to a
//! group (destination, connections, their runs, their log, what is to be told of it) lives in one of them, its *home*, so
//! that whatever is one transaction stays one, and a run asks no other. Accounts, people, keys, receivers, definitions and
//! the list of groups live in the first. An id names its home: rejected was a directory, because each run would have to ask the first
//! database for it, and a hash of the id, because then no database could ever be added.
//!
//! The other databases have copies of what their queries join: the account, the group, and the receivers without their
//! secrets ([`copy_receivers`](ControlPlane::copy_receivers)).

use std::rc::Rc;

use futures::future::{join_all, try_join_all};

use super::ControlPlane;
use super::row::Row;
use crate::core::{Error, Result};
use crate::ports::{QueryResult, SqlDatabase, Statement};

/// The letters of ids. `l`, `o`, `0` and `1` look alike and are left out, and `0` is free to mark a home.
pub(super) const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Letters of an id.
pub(super) const ID_LETTERS: usize = 16;

/// Begins the ids of what does not live in the first database; the letter after it tells where: `b` in the second, and so
/// on.
const HOME_MARK: char = '0';

/// Most databases: as many as one letter tells apart.
pub const MOST_DATABASES: usize = ALPHABET.len();

/// All databases of a control plane.
#[derive(Clone)]
pub(super) struct Databases {
    pub(super) first: Rc<dyn SqlDatabase>,
    pub(super) others: Rc<[Rc<dyn SqlDatabase>]>,
}

impl Databases {
    pub(super) fn all(&self) -> impl Iterator<Item = &dyn SqlDatabase> {
        std::iter::once(&*self.first).chain(self.others.iter().map(|other| &**other))
    }
}

/// The number of the database that an id names, from 0. A run's id is its connection's, a dot and a number. What is no id
/// of ours lives nowhere, which the first database can tell as well.
pub(super) fn home_number(id: &str) -> usize {
    let id = id.split('.').next().unwrap_or_default();
    let mut letters = id.chars();
    match (id.len(), letters.next(), letters.next()) {
        (ID_LETTERS, Some(HOME_MARK), Some(letter)) => {
            ALPHABET.iter().position(|known| char::from(*known) == letter).unwrap_or_default()
        }
        _ => 0,
    }
}

/// The id, made one that lives in the database of that number.
pub(super) fn with_home(id: String, number: usize) -> String {
    match ALPHABET.get(number) {
        Some(letter) if number > 0 => {
            let rest: String = id.chars().skip(2).collect();
            format!("{HOME_MARK}{}{rest}", char::from(*letter))
        }
        _ => id,
    }
}

impl ControlPlane {
    /// The same control plane, divided over further databases of the same schema. Their order must stay for ever; one may be
    /// added at the end at any time, and new groups are spread over all of them.
    #[must_use]
    pub fn divided_over(self, others: Vec<Rc<dyn SqlDatabase>>) -> Self {
        let databases =
            Databases { others: others.into_iter().take(MOST_DATABASES - 1).collect(), ..self.databases };
        Self { databases, ..self }
    }

    /// Where what the whole deployment shares is.
    pub(super) fn shared(&self) -> &dyn SqlDatabase {
        &*self.databases.first
    }

    /// Where the object of that id is: a group, a destination, a connection or a run.
    pub(super) fn home(&self, id: &str) -> Result<&dyn SqlDatabase> {
        let number = home_number(id);
        // Not as if there were no such object: that a binding is missing must not look as if a person had deleted it.
        self.databases.all().nth(number).ok_or_else(|| {
            let binding = number.saturating_add(1);
            Error::invalid(format!("'{id}' is kept in a database that this deployment does not have")).remedy(
                format!("Bind the D1 database again that was bound as DB_{binding}, or correct the id"),
            )
        })
    }

    /// True where there is more than one database.
    pub(super) fn is_divided(&self) -> bool {
        !self.databases.others.is_empty()
    }

    /// True where what lives with that id is not in the database of what is shared.
    pub(super) fn lives_apart(&self, id: &str) -> bool {
        home_number(id) > 0
    }

    /// An id for something that lives where `id` does.
    ///
    /// # Errors
    /// When the platform has no entropy.
    pub fn new_id_beside(&self, id: &str) -> Result<String> {
        Ok(with_home(self.new_id()?, home_number(id)))
    }

    /// An id for a group, in any of the databases.
    pub(super) fn new_group_id(&self) -> Result<String> {
        let id = self.new_id()?;
        if !self.is_divided() {
            return Ok(id);
        }
        let mut byte = [0_u8];
        self.random.fill(&mut byte)?;
        let number = usize::from(byte[0]).checked_rem(self.databases.all().count()).unwrap_or_default();
        Ok(with_home(id, number))
    }

    /// What every database answers to the same statements, the first one first.
    pub(super) async fn everywhere(&self, batch: Vec<Statement>) -> Result<Vec<Vec<QueryResult>>> {
        try_join_all(self.databases.all().map(|database| database.batch(batch.clone()))).await
    }

    /// The rows of the last of these statements, of all databases that answer: where one cannot be reached, the others'
    /// connections go on being served.
    ///
    /// # Errors
    /// When none can be reached.
    pub(super) async fn rows_of_reachable(&self, batch: Vec<Statement>) -> Result<Vec<Row>> {
        let answers = join_all(self.databases.all().map(|database| database.batch(batch.clone()))).await;
        let (mut rows, mut reached, mut failure) = (Vec::new(), false, None);
        for answer in answers {
            match answer {
                Ok(mut results) => {
                    reached = true;
                    rows.extend(results.pop().unwrap_or_default().rows.into_iter().map(Row).enumerate());
                }
                Err(error) => failure = Some(error),
            }
        }
        // In turns: a thousand of one database and then a thousand of the next would have each of them wait for the other.
        rows.sort_by_key(|(place, _)| *place);
        match failure {
            Some(error) if !reached => Err(error),
            _ => Ok(rows.into_iter().map(|(_, row)| row).collect()),
        }
    }

    /// The rows that every database answers to the same statement.
    pub(super) async fn rows_everywhere(&self, statement: Statement) -> Result<Vec<Row>> {
        let found = self.everywhere(vec![statement]).await?;
        Ok(found.into_iter().flatten().flat_map(|result| result.rows).map(Row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_where_it_lives() {
        assert_eq!(home_number("abcdefghijkmnpqr"), 0);
        let second = with_home("abcdefghijkmnpqr".to_owned(), 1);
        assert_eq!(second, "0bcdefghijkmnpqr");
        assert_eq!(home_number(&second), 1);
        assert_eq!(home_number(&format!("{second}.12")), 1, "a run lives where its connection does");
        assert_eq!(home_number(&with_home(second, 31)), 31);
        for nonsense in ["", ".", "0", "0b", "0bé", "0bcdefghijkmnpq", "0!cdefghijkmnpqr", "00cdefghijkmnpqr"]
        {
            assert_eq!(home_number(nonsense), 0, "{nonsense}");
        }
    }
}
