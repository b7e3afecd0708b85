//! TLS before a server of the tests' own that has none: [`Front`], by Node's TLS.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::guardian::Guardian;
use crate::postgres::Certificates;
use crate::{Error, Result, Scratch, Tool};

/// Ends TLS, asks clients for a certificate where it is given an authority of theirs, and passes all bytes on. Prints its port.
const PROGRAM: &str = "
const fs = require('fs'), net = require('net'), tls = require('tls');
const [, backend, key, cert, ca] = process.argv;
const options = { key: fs.readFileSync(key), cert: fs.readFileSync(cert) };
if (ca) Object.assign(options, { ca: fs.readFileSync(ca), requestCert: true, rejectUnauthorized: true });
const server = tls.createServer(options, (client) => {
  const inner = net.connect(Number(backend), '127.0.0.1');
  client.on('error', () => inner.destroy());
  inner.on('error', () => client.destroy());
  client.pipe(inner).pipe(client);
});
server.on('tlsClientError', () => {});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

/// Listens on a loopback port with TLS; what it gets goes to a server without.
#[derive(Debug)]
pub struct Front {
    _guardian: Guardian,
    child: Child,
    port: u16,
    _scratch: Scratch,
}

impl Front {
    /// Before the server with this URL (`http://127.0.0.1:port`). With `clients`, whoever connects has to show a certificate of that authority.
    pub fn before(url: &str, certificates: &Certificates, clients: Option<&Path>) -> Result<Self> {
        let backend = url.rsplit(':').next().unwrap_or_default();
        let scratch = Scratch::new()?;
        let mut command: Command = Tool::find("node", "apt-get install nodejs")?.command(["-e", PROGRAM, "--", backend]);
        command
            .arg(certificates.server_key())
            .arg(certificates.server_certificate())
            .args(clients);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io("cannot start Node"))?;
        let pid = scratch.private_file("pid", format!("{}\n", child.id()))?;
        let guardian = Guardian::watch(&pid, "node", Some(scratch.path()))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .map_err(Error::io("cannot read from Node"))?;
        }
        let port = line
            .trim()
            .parse()
            .map_err(|_| Error::Unusable(format!("Node told no port: {line:?}")))?;
        Ok(Self {
            _guardian: guardian,
            child,
            port,
            _scratch: scratch,
        })
    }

    /// Its URL, by the name that is in its certificate.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // The guardian does the same where this process is killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
