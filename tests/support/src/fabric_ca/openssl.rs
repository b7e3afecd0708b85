//! Keys and certificates of OpenSSL's making, like those of a Fabric CA, and its word on others'.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use super::Home;
use crate::command::describe;
use crate::{Error, Result, Scratch, Tool, run};

const INSTALL: &str = "apt-get install openssl";
/// What Fabric says in each subject.
const SUBJECT: &str = "/C=US/ST=North Carolina/O=Hyperledger/OU=Fabric";

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A CA below the one that issues it.
    Authority,
    /// An identity.
    Client,
    /// A TLS server on this host.
    Server,
}

/// A certificate that was issued, as the server's database has it.
#[derive(Debug, Clone)]
pub struct Issued {
    /// In hexadecimal digits, without zeros at the beginning.
    pub serial: String,
    /// The identifier of the issuer's key, likewise.
    pub aki: String,
    /// As Go writes times into SQLite.
    pub expiry: String,
    /// The certificate.
    pub pem: String,
}

fn openssl(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let tool = Tool::find("openssl", INSTALL)?;
    let mut command = Command::new(tool.path());
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let line = describe(&command);
    let mut child = command.spawn().map_err(Error::io(format!("cannot start `{line}`")))?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input));
    let output = child.wait_with_output().map_err(Error::io(format!("`{line}` got lost")))?;
    match written {
        Some(Err(error)) if output.status.success() => Err(Error::io(format!("`{line}` reads nothing"))(error)),
        _ if output.status.success() => Ok(output.stdout),
        _ => Err(Error::failed(line, &output)),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A private key in PKCS#8, as Fabric keeps it.
pub(super) fn new_key(curve: &str) -> Result<String> {
    let curve = format!("ec_paramgen_curve:{curve}");
    openssl(
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            &curve,
            "-pkeyopt",
            "ec_param_enc:named_curve",
        ],
        b"",
    )
    .map(text)
}

/// A private key of a kind that Fabric CA does not make, such as `RSA` or `ED25519`, in PKCS#8; options of `openssl genpkey` may follow.
pub(super) fn new_foreign_key(algorithm: &str) -> Result<String> {
    let arguments: Vec<&str> = ["genpkey", "-algorithm"].into_iter().chain(algorithm.split(' ')).collect();
    openssl(&arguments, b"").map(text)
}

/// A key in the form that was usual for its kind before PKCS#8; with a password, encrypted as that form has it.
pub fn traditional(key: &str, password: Option<&str>) -> Result<String> {
    let password = password.map(|password| format!("pass:{password}"));
    let mut arguments = vec!["pkey", "-traditional"];
    arguments.extend(password.iter().flat_map(|password| ["-aes256", "-passout", password]));
    openssl(&arguments, key.as_bytes()).map(text)
}

/// A key in PKCS#8 under a password.
pub fn encrypted(key: &str, password: &str) -> Result<String> {
    openssl(&["pkey", "-aes256", "-passout", &format!("pass:{password}")], key.as_bytes()).map(text)
}

/// A key in the older form (RFC 5915) under the newer one's name, as Fabric writes that for Idemix' revocations.
pub(super) fn mislabelled(key: &str) -> Result<String> {
    Ok(traditional(key, None)?.replace("EC PRIVATE KEY", "PRIVATE KEY"))
}

/// The public half.
pub(super) fn public(key: &str) -> Result<String> {
    openssl(&["pkey", "-pubout"], key.as_bytes()).map(text)
}

/// What Fabric calls a key: SHA-256 of its point.
pub(super) fn ski(key: &str) -> Result<String> {
    let public = openssl(&["pkey", "-pubout", "-outform", "DER"], key.as_bytes())?;
    Ok(digest_of_point(&public))
}

/// The same of a certificate's key.
pub(super) fn ski_of_certificate(certificate: &str) -> Result<String> {
    let public = openssl(&["x509", "-pubkey", "-noout"], certificate.as_bytes())?;
    let public = openssl(&["pkey", "-pubin", "-pubout", "-outform", "DER"], &public)?;
    Ok(digest_of_point(&public))
}

/// Of a public key in DER, which ends in its point: 65 bytes of P-256, 97 of P-384.
fn digest_of_point(public: &[u8]) -> String {
    let length = if public.len() > 100 { 97 } else { 65 };
    hex::encode(Sha256::digest(&public[public.len().saturating_sub(length)..]))
}

/// A root's certificate, of 15 years.
pub(super) fn self_signed(key: &str, name: &str) -> Result<String> {
    let scratch = Scratch::new()?;
    let key = scratch.private_file("key.pem", key)?;
    let extensions = "[req]\ndistinguished_name = dn\nx509_extensions = v3\n[dn]\n[v3]\nkeyUsage = critical, keyCertSign, cRLSign\n\
                      basicConstraints = critical, CA:TRUE, pathlen:1\nsubjectKeyIdentifier = hash\n";
    let config = scratch.private_file("req.cnf", extensions)?;
    let (key, config) = (key.display().to_string(), config.display().to_string());
    let subject = format!("{SUBJECT}/CN={name}");
    let made = openssl(
        &[
            "req", "-x509", "-new", "-sha256", "-key", &key, "-config", &config, "-subj", &subject, "-days", "5475",
        ],
        b"",
    );
    made.map(text)
}

/// A certificate for `key`, by the CA with this certificate and key.
pub(super) fn issue(authority: &Path, authority_key: &Path, key: &str, name: &str, kind: Kind, days: u32) -> Result<Issued> {
    let scratch = Scratch::new()?;
    let key = scratch.private_file("key.pem", key)?.display().to_string();
    let usage = match kind {
        Kind::Authority => "keyUsage = critical, keyCertSign, cRLSign\nbasicConstraints = critical, CA:TRUE, pathlen:0\n".to_owned(),
        Kind::Server => "keyUsage = critical, digitalSignature\nbasicConstraints = critical, CA:FALSE\nextendedKeyUsage = serverAuth\n\
                         subjectAltName = DNS:localhost, IP:127.0.0.1\n"
            .to_owned(),
        Kind::Client => {
            let attributes = hex::encode(format!(r#"{{"attrs":{{"hf.EnrollmentID":"{name}","hf.Type":"client"}}}}"#));
            format!(
                "keyUsage = critical, digitalSignature\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:vm\n1.2.3.4.5.6.7.8.1 = DER:{attributes}\n"
            )
        }
    };
    let extensions = format!("{usage}subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n");
    let extensions = scratch.private_file("extensions.cnf", extensions)?.display().to_string();
    let request = scratch
        .private_file("req.cnf", "[req]\ndistinguished_name = dn\n[dn]\n")?
        .display()
        .to_string();
    let subject = format!("{SUBJECT}/CN={name}");
    let request = openssl(
        &["req", "-new", "-sha256", "-key", &key, "-config", &request, "-subj", &subject],
        b"",
    )?;
    // Positive, of 20 bytes, and now and then with a zero at the beginning.
    let serial = crate::random_secret()?;
    let serial = hex::encode(&Sha256::digest(serial)[..20]);
    let serial = format!("0{}", &serial[1..]);
    let (authority, authority_key) = (authority.display().to_string(), authority_key.display().to_string());
    let (number, days) = (format!("0x{serial}"), days.to_string());
    let arguments = [
        "x509",
        "-req",
        "-sha256",
        "-CA",
        &authority,
        "-CAkey",
        &authority_key,
        "-set_serial",
        &number,
        "-days",
        &days,
        "-extfile",
        &extensions,
    ];
    let pem = openssl(&arguments, &request).map(text)?;
    let end = text(openssl(&["x509", "-noout", "-enddate", "-dateopt", "iso_8601"], pem.as_bytes())?);
    let expiry = end.trim().trim_start_matches("notAfter=").trim_end_matches('Z').to_owned() + "+00:00";
    let aki = text(openssl(&["x509", "-noout", "-ext", "authorityKeyIdentifier"], pem.as_bytes())?);
    let aki = aki.lines().last().unwrap_or_default().trim().replace(':', "").to_lowercase();
    let trimmed = |digits: &str| digits.trim_start_matches('0').to_owned();
    Ok(Issued {
        serial: trimmed(&serial),
        aki: trimmed(aki.trim_start_matches("keyid")),
        expiry,
        pem,
    })
}

/// Signs with the key in a file, and has the certificate's public key verify it: OpenSSL's word that they belong together.
pub fn sign(key: &Path, certificate: &Path) -> Result<()> {
    let scratch = Scratch::new()?;
    let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
    let message = scratch.private_file("message", "to be signed")?.display().to_string();
    let signature = scratch.private_file("signature", openssl(&["dgst", "-sha256", "-sign", &key, &message], b"")?)?;
    let public = scratch.private_file("public.pem", openssl(&["x509", "-in", &certificate, "-pubkey", "-noout"], b"")?)?;
    let (signature, public) = (signature.display().to_string(), public.display().to_string());
    openssl(&["dgst", "-sha256", "-verify", &public, "-signature", &signature, &message], b"").map(drop)
}

/// Whether `signature` over `message` is of the certificate's key.
pub(super) fn is_signature(certificate: &[u8], message: &[u8], signature: &[u8]) -> Result<bool> {
    is_signature_by(openssl(&["x509", "-pubkey", "-noout"], certificate)?, message, signature)
}

/// Whether `signature` over `message`, with SHA-256, is by the private key to this public one, PEM.
pub(crate) fn is_signature_by(public_key: impl AsRef<[u8]>, message: &[u8], signature: &[u8]) -> Result<bool> {
    let scratch = Scratch::new()?;
    let public = scratch.private_file("public.pem", public_key)?;
    let (message, signature) = (
        scratch.private_file("message", message)?,
        scratch.private_file("signature", signature)?,
    );
    let mut command = Command::new(Tool::find("openssl", INSTALL)?.path());
    command
        .args(["dgst", "-sha256", "-verify"])
        .arg(public)
        .arg("-signature")
        .arg(signature)
        .arg(message);
    let output = command.output().map_err(Error::io("cannot start `openssl dgst`"))?;
    Ok(output.status.success())
}

/// A CA's list of revoked certificates, as `gencrl` makes it.
pub(super) fn revocations(home: &Home) -> Result<Vec<u8>> {
    let serial = home.store.text("serial_number");
    let rows = home.query(&format!(
        "SELECT {serial} FROM certificates WHERE status = 'revoked' ORDER BY serial_number;"
    ))?;
    let line = |serial: &str| {
        let even = if serial.len().is_multiple_of(2) { "" } else { "0" };
        format!(
            "R\t491121091700Z\t261121091646Z,keyCompromise\t{even}{}\tunknown\t/CN=revoked\n",
            serial.to_uppercase()
        )
    };
    let scratch = Scratch::new()?;
    let index = scratch.private_file("index.txt", rows.lines().map(line).collect::<String>())?;
    let text = format!(
        "[ca]\ndefault_ca = own\n[own]\ndatabase = {}\ndefault_md = sha256\ndefault_crl_days = 1\ncrl_extensions = ext\n[ext]\nauthorityKeyIdentifier = keyid\n",
        index.display()
    );
    let config = scratch.private_file("ca.cnf", text)?.display().to_string();
    let (certificate, key) = (
        home.join("ca-cert.pem").display().to_string(),
        home.key_file()?.display().to_string(),
    );
    openssl(&["ca", "-gencrl", "-config", &config, "-cert", &certificate, "-keyfile", &key], b"")
}

/// What OpenSSL says of a list of revoked certificates, once it has verified its signature: the text.
pub fn crl(root: &Path, pem: &[u8]) -> Result<String> {
    openssl(&["crl", "-noout", "-text", "-CAfile", &root.display().to_string(), "-verify"], pem).map(text)
}

/// `openssl verify` of a certificate against a root, with what may be in between.
pub fn verify(root: &Path, between: Option<&Path>, certificate: &str) -> Result<()> {
    let scratch = Scratch::new()?;
    let certificate = scratch.private_file("certificate.pem", certificate)?;
    let mut command = Command::new(Tool::find("openssl", INSTALL)?.path());
    command.arg("verify").arg("-CAfile").arg(root);
    if let Some(between) = between {
        command.arg("-untrusted").arg(between);
    }
    // The attributes' extension is Fabric's own.
    run(command.arg("-ignore_critical").arg(certificate)).map(drop)
}
