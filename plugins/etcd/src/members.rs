//! Which member a backup reads from: [`survey`] asks all that the TOML names.
//!
//! A healthy follower that is up to date comes first: a snapshot costs the leader more than anybody, and a follower has the same content. Nobody is
//! read from that knows no leader, unless the operator accepts that: what it has may be older than what the cluster has agreed on since.

use bulkhead_sdk::{
    Error, ErrorKind, Result,
    types::{Finding, Severity},
    warn,
};

use crate::{
    config::{Accepted, Config},
    rpc::{
        Client, Login, addresses,
        messages::{AlarmMember, StatusResponse},
    },
};

/// Applied entries that a follower may be behind and still count as up to date; a busy cluster makes some thousands a second.
pub(crate) const LAG: u64 = 5000;

/// A member that answered.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) client: Client,
    pub(crate) status: StatusResponse,
}

impl Reached {
    fn cluster_id(&self) -> u64 {
        self.status.header.unwrap_or_default().cluster_id
    }
}

impl StatusResponse {
    pub(crate) fn is_led_by_itself(&self) -> bool {
        self.leader != 0 && self.leader == self.header.unwrap_or_default().member_id
    }

    /// The index that the member has applied; servers before 3.4 don't say.
    pub(crate) fn applied(&self) -> u64 {
        match self.raft_applied_index {
            0 => self.raft_index,
            index => index,
        }
    }
}

/// Who answered and who did not.
#[derive(Debug)]
pub(crate) struct Survey {
    /// In the order of preference.
    pub(crate) reached: Vec<Reached>,
    pub(crate) unreached: Vec<(String, Error)>,
}

/// Asks every address of the endpoint for its member's status.
///
/// Fails with the first error where nobody answers, and where the addresses belong to different clusters.
pub(crate) fn survey(user: Option<&str>) -> Result<Survey> {
    let (mut reached, mut unreached) = (Vec::new(), Vec::new());
    for address in addresses()? {
        let asked = Client::open(&address, Login(user)).and_then(|mut client| {
            let status = client.status()?;
            Ok(Reached { client, status })
        });
        match asked {
            Ok(member) => reached.push(member),
            Err(error) => {
                warn!(address = address; "a member cannot be used: {error}");
                unreached.push((address, error));
            }
        }
    }
    if reached.is_empty() {
        return Err(nobody(unreached));
    }
    same_cluster(&reached)?;
    prefer(&mut reached);
    Ok(Survey { reached, unreached })
}

/// The first address's error; the others' are causes.
fn nobody(unreached: Vec<(String, Error)>) -> Error {
    let mut errors = unreached.into_iter();
    let Some((_, first)) = errors.next() else {
        return Error::config("endpoint.server", "the endpoint has no address");
    };
    errors.fold(first, |first, (_, error)| first.with_cause(error))
}

fn same_cluster(reached: &[Reached]) -> Result<()> {
    let Some(odd) = reached.iter().find(|member| member.cluster_id() != reached[0].cluster_id()) else {
        return Ok(());
    };
    let message = format!(
        "{} and {} are members of different clusters ({:x} and {:x})",
        reached[0].client.address(),
        odd.client.address(),
        reached[0].cluster_id(),
        odd.cluster_id()
    );
    Err(Error::new(ErrorKind::Conflict, message).with_hint("give each cluster a pipeline of its own"))
}

/// Puts the members into the order in which a backup tries them.
fn prefer(reached: &mut [Reached]) {
    let newest = newest(reached);
    // Sorting is stable: among equals, the operator's order.
    reached.sort_by_key(|member| rank(&member.status, newest));
}

/// What the member that is furthest has applied.
pub(crate) fn newest(reached: &[Reached]) -> u64 {
    reached.iter().map(|member| member.status.applied()).max().unwrap_or(0)
}

/// Lower is better.
fn rank(status: &StatusResponse, newest: u64) -> (bool, bool, bool, bool) {
    let is_behind = newest.saturating_sub(status.applied()) > LAG;
    (
        status.is_learner || status.leader == 0,
        is_behind,
        !status.errors.is_empty(),
        status.is_led_by_itself(),
    )
}

/// Fails where this member is none that a backup may be read from.
pub(crate) fn usable(config: &Config, member: &Reached) -> Result<()> {
    let address = member.client.address();
    if member.status.is_learner {
        let message = format!("the member at {address} is a learner, which serves no snapshots");
        return Err(Error::new(ErrorKind::Unsupported, message).with_hint("name a voting member's address too"));
    }
    if member.status.leader == 0 && !config.accepts(Accepted::NoLeader) {
        let message = format!("the member at {address} knows no leader: what it has may be out of date");
        return Err(Error::new(ErrorKind::Server, message)
            .with_retryable(true)
            .with_setting("accept")
            .with_hint("bring the cluster's quorum back; to save what this member has all the same, set `accept = [\"no-leader\"]`"));
    }
    Ok(())
}

/// An alarm that forbids a backup.
pub(crate) struct Alarm {
    number: i32,
    accepted: Accepted,
    /// As `accept` has it, and etcd.
    name: &'static str,
    told: &'static str,
    meaning: &'static str,
    kind: ErrorKind,
    cure: &'static str,
}

const ALARMS: [Alarm; 2] = [
    Alarm {
        number: 1,
        accepted: Accepted::NoSpace,
        name: "no-space",
        told: "NOSPACE",
        meaning: "the store has reached its quota, and the cluster refuses writes",
        kind: ErrorKind::StorageFull,
        cure: "compact and defragment, then `etcdctl alarm disarm`",
    },
    Alarm {
        number: 2,
        accepted: Accepted::Corrupt,
        name: "corrupt",
        told: "CORRUPT",
        meaning: "members disagree about the content",
        kind: ErrorKind::SourceDamaged,
        cure: "find the odd member with `etcdctl endpoint hashkv --cluster`, remove it and add it anew",
    },
];

/// An alarm that a member has raised.
pub(crate) struct Raised {
    member: u64,
    /// One that is known.
    alarm: Option<&'static Alarm>,
    /// As the member has it, by name or by number.
    told: String,
}

impl From<AlarmMember> for Raised {
    fn from(raised: AlarmMember) -> Self {
        let alarm = ALARMS.iter().find(|alarm| alarm.number == raised.alarm);
        Self {
            member: raised.member_id,
            alarm,
            told: alarm.map_or_else(|| raised.alarm.to_string(), |alarm| alarm.told.to_owned()),
        }
    }
}

impl Raised {
    /// Reads `memberID:1 alarm:CORRUPT`, as a member's status has its alarms.
    fn parse(error: &str) -> Option<Self> {
        let word = |name| error.split_whitespace().find_map(|word| word.strip_prefix(name));
        let told = word("alarm:")?;
        Some(Self {
            member: word("memberID:").and_then(|id| id.parse().ok()).unwrap_or(0),
            alarm: ALARMS.iter().find(|alarm| alarm.told == told),
            told: told.to_owned(),
        })
    }

    /// An error where it forbids a backup, a warning where it is accepted or not known.
    pub(crate) fn finding(&self, config: &Config) -> Finding {
        let who = format!("the member {:x} has raised the alarm {}", self.member, self.told);
        let Some(alarm) = self.alarm else {
            return Finding::warning("alarm", who);
        };
        let severity = if config.accepts(alarm.accepted) {
            Severity::Warning
        } else {
            Severity::Error
        };
        let name = alarm.name;
        let finding = Finding {
            severity,
            ..Finding::warning(format!("alarm-{name}"), format!("{who}: {}", alarm.meaning))
        };
        finding
            .with_hint(format!(
                "a backup is refused unless `accept = [\"{name}\"]`; `etcdctl alarm list` and `etcdctl alarm disarm` after the cure"
            ))
            .with_setting("accept")
    }

    /// Why there can be no backup, unless the operator accepts that.
    fn refusal(&self, config: &Config) -> Option<Error> {
        let alarm = self.alarm.filter(|alarm| !config.accepts(alarm.accepted))?;
        let error = Error::new(alarm.kind, self.finding(config).message).with_setting("accept");
        Some(error.with_hint(format!(
            "{}; to back up what is there all the same, set `accept = [\"{}\"]`",
            alarm.cure, alarm.name
        )))
    }
}

/// Alarms that are raised, as far as the member can tell: they are asked for through the cluster's log, so that there is no answer without a leader. Then what
/// the member says of itself has to do.
pub(crate) fn alarms(member: &mut Reached) -> Result<Vec<Raised>> {
    if member.status.leader != 0 {
        return Ok(member.client.alarms()?.into_iter().map(Raised::from).collect());
    }
    Ok(member.status.errors.iter().filter_map(|error| Raised::parse(error)).collect())
}

/// Fails where an alarm is raised that the operator does not accept; what is accepted, or not known, is not forgotten.
pub(crate) fn no_alarm(config: &Config, member: &mut Reached) -> Result<Vec<Finding>> {
    let raised = alarms(member)?;
    match raised.iter().find_map(|raised| raised.refusal(config)) {
        Some(refusal) => Err(refusal),
        None => Ok(raised.iter().map(|raised| raised.finding(config)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::messages::ResponseHeader;

    #[test]
    fn without_a_leader_the_members_own_word_for_its_alarms_counts() {
        let told = |text| Raised::parse(text).map(|raised| (raised.member, raised.alarm.map(|alarm| alarm.number), raised.told));
        let corrupt = (10_276_657_743_932_975_437, Some(2), "CORRUPT".to_owned());
        assert_eq!(told("memberID:10276657743932975437 alarm:CORRUPT "), Some(corrupt));
        assert_eq!(told("memberID:1 alarm:NOSPACE"), Some((1, Some(1), "NOSPACE".to_owned())));
        assert_eq!(told("etcdserver: no leader"), None);
        let new = Raised::parse("memberID:1 alarm:NEW").map(|raised| raised.finding(&Config::default()).message);
        assert_eq!(new.as_deref(), Some("the member 1 has raised the alarm NEW"));
    }

    fn status(member_id: u64, applied: u64) -> StatusResponse {
        StatusResponse {
            header: Some(ResponseHeader {
                member_id,
                ..ResponseHeader::default()
            }),
            leader: 1,
            raft_index: applied,
            ..StatusResponse::default()
        }
    }

    #[test]
    fn a_healthy_follower_that_is_up_to_date_comes_first() {
        let newest = 100_000;
        let alarmed = StatusResponse {
            errors: vec!["memberID:3 alarm:NOSPACE".to_owned()],
            ..status(3, newest)
        };
        let learner = StatusResponse {
            is_learner: true,
            ..status(5, newest)
        };
        let leaderless = StatusResponse {
            leader: 0,
            ..status(6, newest)
        };
        let order = [
            status(2, newest - LAG),
            status(1, newest),
            alarmed,
            status(4, newest - LAG - 1),
            learner,
        ];
        let ranks: Vec<_> = order.iter().map(|status| rank(status, newest)).collect();
        assert!(ranks.is_sorted() && ranks.windows(2).all(|pair| pair[0] != pair[1]), "{ranks:?}");
        assert_eq!(rank(&leaderless, newest), ranks[4]);
    }
}
