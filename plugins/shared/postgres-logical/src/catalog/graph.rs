//! From dependencies to an order: [`sorted`]. It knows which dependencies of PostgreSQL's are not ones of making, and how circles are cut.

use std::collections::{HashMap, HashSet};

use bulkhead_sdk::{Error, Result, ResultExt};

use super::{
    Object, circular,
    kinds::{Section, rank},
    links::{Edge, Links, ObjectId, step},
};
use crate::{
    session::Sql,
    sort::{Circle, order},
};

/// The objects, with placeholders of views where views need each other, and the order in which they are made.
pub(crate) struct Sorted {
    pub(crate) objects: Vec<Object>,
    /// Their places, each with its section.
    pub(crate) order: Vec<(usize, Section)>,
    /// Of each object, the places of those that it cannot be made without.
    pub(crate) needs: Vec<Vec<usize>>,
}

/// Puts objects into the order in which they are made.
pub(crate) fn sorted(sql: &mut Sql, mut objects: Vec<Object>, links: &Links) -> Result<Sorted> {
    objects.sort_by(|one, other| {
        (rank(&one.kind), &one.schema, &one.name, one.id).cmp(&(rank(&other.kind), &other.schema, &other.name, other.id))
    });
    let mut split = HashSet::new();
    loop {
        let graph = Graph::of(&objects, links, &split);
        let ranks: Vec<_> = objects.iter().map(|object| rank(&object.kind)).collect();
        let view = match order(&ranks, &graph.follows) {
            Ok(order) => {
                let sections = graph.sections(&order, &ranks);
                let Some(late) = (0..objects.len()).find(|&place| objects[place].kind == "TABLE" && sections[place] == Section::After)
                else {
                    let order = order.into_iter().map(|place| (place, sections[place])).collect();
                    return Ok(Sorted {
                        objects,
                        order,
                        needs: graph.needs,
                    });
                };
                let delaying = graph.delaying(late, &sections);
                whole_view(&objects, &split, &delaying).ok_or_else(|| too_late(&objects[late]))?
            }
            Err(Circle(circle)) => {
                let named = || circular(&circle.iter().map(|&place| &objects[place]).collect::<Vec<_>>());
                whole_view(&objects, &split, &circle).ok_or_else(named)?
            }
        };
        split.insert(objects[view].id);
        let placeholder = placeholder(sql, &objects[view])?;
        objects.insert(0, placeholder);
    }
}

/// The first of these views that nobody can do without yet. Whoever needs it can do with one of the same columns that returns nothing; the real one replaces it when all is there.
fn whole_view(objects: &[Object], split: &HashSet<ObjectId>, places: &[usize]) -> Option<usize> {
    let is_whole = |object: &Object| object.kind == "VIEW" && object.id.catalog > step::LAST && !split.contains(&object.id);
    places.iter().copied().find(|&place| is_whole(&objects[place]))
}

/// A table that could only be made after its own rows.
fn too_late(table: &Object) -> Error {
    Error::unsupported(format!(
        "table {} needs something that is made after the rows are there, such as a function that relies on a primary key",
        table.title()
    ))
    .with_hint("back the cluster up with `mode = \"physical\"`, and tell us about this table")
}

/// A view with the same columns and nothing in it.
fn placeholder(sql: &mut Sql, view: &Object) -> Result<Object> {
    let statement = sql
        .value(&format!(
            "SELECT 'CREATE VIEW ' || {number}::oid::regclass || E' AS SELECT\\n    ' || string_agg(concat('NULL::', format_type(a.atttypid, a.atttypmod), \
             CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation THEN ' COLLATE ' || a.attcollation::regcollation END, \
             ' AS ', quote_ident(a.attname)), E',\\n    ' ORDER BY a.attnum) \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = {number} AND a.attnum > 0 AND NOT a.attisdropped",
            number = view.id.number
        ))
        .context(|| format!("reading the columns of {} failed", view.title()))?;
    Ok(Object {
        id: view.id.step(step::PLACEHOLDER),
        kind: "VIEW".to_owned(),
        schema: view.schema.clone(),
        name: view.name.clone(),
        statement,
        ..Object::default()
    })
}

/// Who needs whom, by place.
struct Graph {
    needs: Vec<Vec<usize>>,
    /// Whom it needs, and whom it only comes after where both are made.
    follows: Vec<Vec<usize>>,
}

impl Graph {
    fn of(objects: &[Object], links: &Links, split: &HashSet<ObjectId>) -> Self {
        let places: HashMap<ObjectId, usize> = objects.iter().enumerate().map(|(place, object)| (object.id, place)).collect();
        let mut builder = Builder {
            objects,
            links,
            split,
            places,
            // What a base type is made with.
            made_with: HashSet::new(),
            tables: HashMap::new(),
            needs: vec![Vec::new(); objects.len()],
            after: vec![Vec::new(); objects.len()],
        };
        builder.steps();
        builder.edges();
        builder.refreshes();
        let Builder { needs, after, .. } = builder;
        let follows = needs
            .iter()
            .zip(after)
            .map(|(needs, after)| distinct([needs.clone(), after].concat()));
        Self {
            follows: follows.collect(),
            needs: needs.into_iter().map(distinct).collect(),
        }
    }

    /// What needs something that is made after the rows is made after them too.
    fn sections(&self, order: &[usize], ranks: &[(Section, usize)]) -> Vec<Section> {
        let mut sections: Vec<Section> = ranks.iter().map(|(section, _)| *section).collect();
        for &place in order {
            if self.follows[place].iter().any(|&need| sections[need] == Section::After) {
                sections[place] = Section::After;
            }
        }
        sections
    }

    /// What is made after the rows and, one through the other, keeps `late` from being made before them.
    fn delaying(&self, late: usize, sections: &[Section]) -> Vec<usize> {
        let mut seen = HashSet::from([late]);
        let mut path = vec![late];
        let mut done = 0;
        while let Some(&place) = path.get(done) {
            done += 1;
            path.extend(
                self.follows[place]
                    .iter()
                    .filter(|&&need| sections[need] == Section::After && seen.insert(need)),
            );
        }
        path
    }
}

fn distinct(mut places: Vec<usize>) -> Vec<usize> {
    places.sort_unstable();
    places.dedup();
    places
}

struct Builder<'a> {
    objects: &'a [Object],
    links: &'a Links,
    split: &'a HashSet<ObjectId>,
    places: HashMap<ObjectId, usize>,
    made_with: HashSet<(ObjectId, ObjectId)>,
    /// Of checks that are part of their table's statement.
    tables: HashMap<ObjectId, ObjectId>,
    needs: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
}

/// A dependency between objects that are carried.
#[derive(Clone, Copy)]
struct Need {
    from: ObjectId,
    to: ObjectId,
    automatic: bool,
    /// Of the object itself, and not of a part of it such as a view's query.
    of_itself: bool,
    /// On the object itself, and not on a part of it such as a table's row type.
    on_itself: bool,
}

impl Builder<'_> {
    fn need(&mut self, from: ObjectId, to: ObjectId) {
        if let Some((from, to)) = self.both(from, to) {
            self.needs[from].push(to);
        }
    }

    /// Where both are made, `from` is made after `to`; it does without.
    fn follow(&mut self, from: ObjectId, to: ObjectId) {
        if let Some((from, to)) = self.both(from, to) {
            self.after[from].push(to);
        }
    }

    fn both(&self, from: ObjectId, to: ObjectId) -> Option<(usize, usize)> {
        let (from, to) = (*self.places.get(&from)?, *self.places.get(&to)?);
        (from != to).then_some((from, to))
    }

    fn kind(&self, object: ObjectId) -> &str {
        self.places.get(&object).map_or("", |&place| &self.objects[place].kind)
    }

    /// Steps of our own come after (or before) what they are steps of.
    fn steps(&mut self) {
        let (types, relations) = (self.links.catalog("pg_type"), self.links.catalog("pg_class"));
        for object in self.objects {
            match object.id.catalog {
                step::SHELL => self.need(object.id.step(types), object.id),
                step::PLACEHOLDER => self.need(object.id.step(relations), object.id),
                1..=step::LAST => self.need(object.id, object.id.step(relations)),
                _ => {}
            }
        }
    }

    fn edges(&mut self) {
        let resolved: Vec<Need> = self.links.edges.iter().filter_map(|edge| self.resolved(edge)).collect();
        let types = self.links.catalog("pg_type");
        for need in resolved.iter().filter(|need| need.from.catalog == types) {
            self.made_with.insert((need.from, need.to));
        }
        for need in &resolved {
            if need.automatic && self.is_within(need.from) && matches!(self.kind(need.to), "TABLE" | "FOREIGN TABLE") {
                self.tables.insert(need.from, need.to);
            }
        }
        for need in resolved {
            self.edge(need);
        }
    }

    fn resolved(&self, edge: &Edge) -> Option<Need> {
        let (from, to) = (self.links.resolve(edge.from)?, self.links.resolve(edge.to)?);
        (from != to).then(|| Need {
            from,
            to,
            automatic: edge.automatic(),
            of_itself: from == edge.from,
            on_itself: to == edge.to,
        })
    }

    fn edge(&mut self, need: Need) {
        let Need { from, to, automatic, .. } = need;
        match (self.kind(from), self.kind(to)) {
            // OWNED BY is a step of its own, and so is being attached.
            ("SEQUENCE", "TABLE" | "FOREIGN TABLE") if automatic => self.need(from.step(step::OWNED_BY), to),
            ("TABLE" | "FOREIGN TABLE", "TABLE") if automatic && self.places.contains_key(&from.step(step::ATTACH)) => {
                self.need(from.step(step::ATTACH), to)
            }
            // A child has its columns stored as its parent has, when it is made.
            ("TABLE" | "FOREIGN TABLE", "TABLE" | "FOREIGN TABLE") if need.of_itself && need.on_itself => {
                self.need(from, to);
                self.follow(to.step(step::STORAGE), from)
            }
            ("INDEX", "INDEX") => self.need(from.step(step::ATTACH_INDEX), to),
            // The functions of a base type are made with its name only.
            ("FUNCTION", "TYPE") if self.made_with.contains(&(to, from)) && self.places.contains_key(&to.step(step::SHELL)) => {
                self.need(from, to.step(step::SHELL))
            }
            // A check that its table's own statement has: what it needs, the table needs.
            ("CHECK CONSTRAINT", _) if self.tables.get(&from).is_some_and(|table| *table != to) => {
                self.need(self.tables[&from], self.first_of(to))
            }
            // A partition must have the checks of what it is attached to.
            ("CHECK CONSTRAINT", "TABLE" | "FOREIGN TABLE") if automatic => {
                self.need(from, to);
                self.need(to.step(step::ATTACH), from)
            }
            // A placeholder has the view's columns, and with them their types.
            ("VIEW", _) if need.of_itself && self.split.contains(&from) => {
                self.need(from, self.first_of(to));
                self.need(from.step(step::PLACEHOLDER), self.first_of(to))
            }
            _ => self.need(from, self.first_of(to)),
        }
    }

    /// What others need of an object that is made in two steps.
    fn first_of(&self, object: ObjectId) -> ObjectId {
        if self.split.contains(&object) {
            object.step(step::PLACEHOLDER)
        } else {
            object
        }
    }

    fn is_within(&self, check: ObjectId) -> bool {
        self.places
            .get(&check)
            .is_some_and(|&place| self.objects[place].kind == "CHECK CONSTRAINT" && self.objects[place].statement.is_empty())
    }

    /// A materialized view is filled after those that it reads, through whatever else.
    fn refreshes(&mut self) {
        let refreshes: Vec<ObjectId> = self
            .objects
            .iter()
            .map(|object| object.id)
            .filter(|id| id.catalog == step::REFRESH)
            .collect();
        let relations = self.links.catalog("pg_class");
        for refresh in refreshes {
            let Some(&start) = self.places.get(&refresh.step(relations)) else {
                continue;
            };
            let mut seen = HashSet::from([start]);
            let mut open = vec![start];
            while let Some(place) = open.pop() {
                for &need in &self.needs[place] {
                    if seen.insert(need) {
                        open.push(need);
                    }
                }
            }
            seen.remove(&start);
            for place in seen {
                self.need(refresh, self.objects[place].id.step(step::REFRESH));
            }
        }
    }
}
