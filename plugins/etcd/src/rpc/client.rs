//! One member of a cluster: [`Client`].

use std::time::Duration;

use bulkhead_grpc::{Call, Channel, GrpcError, Options};
use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt,
    endpoint::{self, Connection, TlsMode, Transport},
    secrets,
};
use prost::Message;

use super::{
    explain, hung_up,
    messages::{
        AlarmMember, AlarmRequest, AlarmResponse, AuthenticateRequest, AuthenticateResponse, Empty, HashKvRequest, HashKvResponse,
        LeaseGrantRequest, LeaseGrantResponse, Member, MemberListResponse, RangeRequest, RangeResponse, SnapshotResponse, StatusResponse,
        TxnRequest, TxnResponse,
    },
};

/// The endpoint that this plugin asks for.
pub(crate) const ENDPOINT: &str = "server";

/// The secret that this plugin asks for.
pub(crate) const PASSWORD: &str = "password";

/// How long a member may take for a small answer. etcd itself gives a request 5 seconds and an election's time.
const ANSWER: Duration = Duration::from_secs(20);

/// How long a member may take to hash all of its content, several GB read from disk.
pub(crate) const HASHING: Duration = Duration::from_secs(30 * 60);

/// How long a snapshot's stream may be silent: before its first message the member writes what it has in memory to its disk.
const SILENCE: Duration = Duration::from_secs(5 * 60);

/// Messages of a snapshot that may be empty, one after the other; etcd sends none.
const MAX_EMPTY: usize = 1000;

/// The largest answer: members of a big cluster, or 128 keys of a batch. A snapshot's messages have 32 KiB.
const MAX_MESSAGE: usize = 8 << 20;

/// Who to log in as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a>(pub(crate) Option<&'a str>);

/// A connection to one member.
pub(crate) struct Client {
    channel: Channel<Connection>,
    address: String,
    pub(crate) encrypted: bool,
    /// Whether it has ever answered.
    answered: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Client({})", self.address)
    }
}

/// The operator's addresses, in order.
pub(crate) fn addresses() -> Result<Vec<String>> {
    Ok(endpoint::settings(ENDPOINT)?.addresses)
}

impl Client {
    /// Connects to one of the operator's addresses and logs in.
    pub(crate) fn open(address: &str, login: Login<'_>) -> Result<Self> {
        let settings = endpoint::settings(ENDPOINT)?;
        let dial = || match settings.transport {
            Transport::Tcp => endpoint::open_address(ENDPOINT, address),
            Transport::Unix => endpoint::open(ENDPOINT),
        };
        let mut connection = dial()?;
        let encrypted = match settings.tls {
            _ if settings.transport == Transport::Unix => false,
            TlsMode::Disable => false,
            // One port speaks either TLS or not, and says nothing beforehand: trying is the only way to find out.
            TlsMode::Prefer => match connection.start_tls_offering(&["h2"]) {
                Ok(_) => true,
                Err(error) if error.kind == ErrorKind::Unreachable => {
                    connection = dial()?;
                    false
                }
                Err(error) => return Err(error),
            },
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => connection.start_tls_offering(&["h2"]).map(|_| true)?,
        };
        let options = Options {
            encrypted,
            max_message: MAX_MESSAGE,
            ..Options::default()
        };
        let channel = Channel::connect(connection, options).map_err(|error| explain(error, address))?;
        let mut client = Self {
            channel,
            address: address.to_owned(),
            encrypted,
            answered: false,
        };
        if let Some(user) = login.0 {
            client
                .authenticate(user)
                .context(|| format!("logging in to {address} as `{user}` failed"))?;
        }
        Ok(client)
    }

    /// The address that was dialled.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn authenticate(&mut self, user: &str) -> Result<()> {
        if !secrets::names().iter().any(|name| name == PASSWORD) {
            return Err(Error::new(ErrorKind::Unauthenticated, "`user` is set, and no password was granted")
                .with_hint("grant it: secret.password = { file = \"…\", reveal = true }"));
        }
        let password = secrets::reveal(PASSWORD)?;
        let password = password
            .as_str()
            .ok_or_else(|| Error::new(ErrorKind::Config, "the password is not UTF-8, as etcd's protocol wants it"))?;
        let request = AuthenticateRequest {
            name: user.to_owned(),
            password: password.to_owned(),
        };
        let answer: AuthenticateResponse = self.ask("/etcdserverpb.Auth/Authenticate", &request)?;
        let set = self.channel.set_metadata("token", answer.token.as_bytes());
        set.map_err(|error| explain(error, &self.address))
    }

    fn ask<R: Message + Default>(&mut self, path: &'static str, request: &impl Message) -> Result<R> {
        let answer = self.channel.unary(path, request, ANSWER);
        let answer = answer.map_err(|error| {
            let error = explain(error, &self.address);
            if self.answered { error } else { hung_up(error) }
        })?;
        self.answered = true;
        Ok(answer)
    }

    pub(crate) fn status(&mut self) -> Result<StatusResponse> {
        self.ask("/etcdserverpb.Maintenance/Status", &Empty {})
    }

    pub(crate) fn alarms(&mut self) -> Result<Vec<AlarmMember>> {
        let answer: AlarmResponse = self.ask("/etcdserverpb.Maintenance/Alarm", &AlarmRequest {})?;
        Ok(answer.alarms)
    }

    pub(crate) fn members(&mut self) -> Result<Vec<Member>> {
        let answer: MemberListResponse = self.ask("/etcdserverpb.Cluster/MemberList", &Empty {})?;
        Ok(answer.members)
    }

    /// Asks for the snapshot; it comes with [`Self::next_blob`].
    pub(crate) fn start_snapshot(&mut self) -> Result<Call> {
        let call = self.channel.start("/etcdserverpb.Maintenance/Snapshot", &Empty {}, None);
        call.map_err(|error| explain(error, &self.address))
    }

    /// The next piece of a snapshot, which is not empty.
    pub(crate) fn next_blob(&mut self, call: &mut Call) -> Result<Option<prost::bytes::Bytes>> {
        for _ in 0..MAX_EMPTY {
            let message = self.channel.next(call, SILENCE).map_err(|error| explain(error, &self.address))?;
            let Some(message) = message else { return Ok(None) };
            let decoded = SnapshotResponse::decode(message).map_err(|error| explain(GrpcError::from(error), &self.address))?;
            if !decoded.blob.is_empty() {
                return Ok(Some(decoded.blob));
            }
        }
        let message = format!(
            "etcd at {} sent {MAX_EMPTY} messages of a snapshot with nothing in them",
            self.address
        );
        Err(Error::new(ErrorKind::Protocol, message))
    }

    /// Asks for the hash of the content up to a revision; [`Self::finish_hash`] waits for it.
    pub(crate) fn start_hash(&mut self, revision: i64) -> Result<Call> {
        let request = HashKvRequest { revision };
        let call = self.channel.start("/etcdserverpb.Maintenance/HashKV", &request, Some(HASHING));
        call.map_err(|error| explain(error, &self.address))
    }

    /// `patience` is how long the member may still take.
    pub(crate) fn finish_hash(&mut self, call: &mut Call, patience: Duration) -> Result<HashKvResponse> {
        self.channel.finish(call, patience).map_err(|error| explain(error, &self.address))
    }

    pub(crate) fn range(&mut self, request: &RangeRequest) -> Result<RangeResponse> {
        self.ask("/etcdserverpb.KV/Range", request)
    }

    pub(crate) fn transact(&mut self, request: &TxnRequest) -> Result<TxnResponse> {
        self.ask("/etcdserverpb.KV/Txn", request)
    }

    pub(crate) fn grant_lease(&mut self, request: LeaseGrantRequest) -> Result<LeaseGrantResponse> {
        self.ask("/etcdserverpb.Lease/LeaseGrant", &request)
    }
}
