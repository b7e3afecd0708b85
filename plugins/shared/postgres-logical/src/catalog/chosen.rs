//! Which objects a backup carries, where it is of a part of a database: [`Chosen`].
//!
//! What is chosen brings along what it cannot be made without: a table its types and the table that it is a partition of, a view the tables that it reads, a trigger its function. They come without
//! rows. So a snapshot of a part can be restored into an empty database. A foreign key to a table that is not chosen is left out instead: the rows that it leads to would be missing.

use std::collections::HashMap;

use bulkhead_sdk::types::Finding;

use super::{Object, Places, links::step};
use crate::{options::Content, selection::Selection};

/// Objects that a message lists at most.
const NAMED: usize = 20;

/// What ties tables together that may each be chosen without the other.
const TIES: [&str; 2] = ["FK CONSTRAINT", "PUBLICATION TABLE"];

/// What is carried.
pub(super) struct Chosen {
    carried: Vec<bool>,
    pub(super) left: Left,
}

/// What a selection brings along, and what it cuts off.
#[derive(Debug, Default)]
pub(crate) struct Left {
    needed: Vec<String>,
    keys: Vec<String>,
    partitions: Vec<String>,
}

impl Chosen {
    /// `needs` are the places of what each object needs.
    pub(super) fn of(objects: &[Object], needs: &[Vec<usize>], places: &Places, selection: &Selection) -> Self {
        let is_chosen = |object: &Object| {
            let place = places.get(object.id);
            selection.statement(&object.kind, &object.title(), place.schema.as_deref(), place.relation.as_deref())
        };
        let mut chosen: Vec<bool> = objects.iter().map(is_chosen).collect();
        let mut left = Left::default();
        if !selection.is_partial() || selection.content == Content::Data {
            return Self { carried: chosen, left };
        }
        let is_table = |place: usize| matches!(objects[place].kind.as_str(), "TABLE" | "FOREIGN TABLE");
        let of_tables = |place: usize| needs[place].iter().copied().filter(|need| is_table(*need));
        let has_partition =
            |place: usize| objects[place].kind == "TABLE ATTACH" && !chosen[place] && of_tables(place).any(|table| chosen[table]);
        left.partitions = titles(objects, has_partition);
        let cut: Vec<bool> = (0..objects.len())
            .map(|place| TIES.contains(&objects[place].kind.as_str()) && chosen[place] && of_tables(place).any(|table| !chosen[table]))
            .collect();
        left.keys = titles(objects, |place| cut[place] && objects[place].kind == "FK CONSTRAINT");
        for (chosen, cut) in chosen.iter_mut().zip(&cut) {
            *chosen &= !cut;
        }
        let carried = with_needs(objects, needs, &chosen, &cut);
        left.needed = titles(objects, |place| carried[place] && !chosen[place] && objects[place].kind != "SCHEMA");
        Self { carried, left }
    }

    /// Whether the object at this place is.
    pub(super) fn carries(&self, place: usize) -> bool {
        self.carried[place]
    }
}

/// What is chosen, and all that it needs, one through the other.
fn with_needs(objects: &[Object], needs: &[Vec<usize>], chosen: &[bool], cut: &[bool]) -> Vec<bool> {
    let is_first = |object: &Object| matches!(object.id.catalog, step::SHELL | step::PLACEHOLDER);
    // Who can do with the first step of something still wants all of it.
    let whole: HashMap<u32, usize> = (0..objects.len())
        .filter(|&place| objects[place].id.catalog > step::LAST && matches!(objects[place].kind.as_str(), "VIEW" | "TYPE"))
        .map(|place| (objects[place].id.number, place))
        .collect();
    let mut carried = chosen.to_vec();
    let mut open: Vec<usize> = (0..objects.len()).filter(|&place| chosen[place]).collect();
    while let Some(place) = open.pop() {
        let rest = whole.get(&objects[place].id.number).copied().filter(|_| is_first(&objects[place]));
        for need in needs[place].iter().copied().chain(rest) {
            if !carried[need] && !cut[need] {
                carried[need] = true;
                open.push(need);
            }
        }
    }
    carried
}

/// What messages call those that something holds for.
fn titles(objects: &[Object], holds: impl Fn(usize) -> bool) -> Vec<String> {
    let those = (0..objects.len()).filter(|&place| !objects[place].statement.is_empty() && holds(place));
    those
        .map(|place| format!("{} {}", objects[place].kind, objects[place].title()))
        .collect()
}

impl Left {
    /// What an operator is told of database `name`.
    pub(crate) fn findings(&self, name: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.needed.is_empty() {
            let message = format!(
                "what is chosen of database `{name}` needs this, which is carried without rows: {}",
                listed(&self.needed)
            );
            findings.push(Finding::info("needed-objects", message));
        }
        if !self.keys.is_empty() {
            let message = format!(
                "foreign keys of database `{name}` to tables that are not chosen are left out: {}",
                listed(&self.keys)
            );
            findings.push(Finding::warning("foreign-keys-left-out", message).with_hint("choose the tables that they lead to, too"));
        }
        if !self.partitions.is_empty() {
            let message = format!(
                "partitions of chosen tables of database `{name}` are not chosen themselves, and left out with their rows: {}",
                listed(&self.partitions)
            );
            findings
                .push(Finding::warning("partitions-left-out", message).with_hint("name them in `tables`, by pattern (`public.events*`)"));
        }
        findings
    }
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let list = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}
