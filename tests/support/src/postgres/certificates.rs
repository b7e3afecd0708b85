//! A certification authority for one cluster, made with the `openssl` program (which Debian's PostgreSQL depends on).

use std::path::{Path, PathBuf};

use crate::user::ServerUser;
use crate::{Error, Result, Tool, run};

/// A certificate and its key for a client, both PEM files; the key has mode 0600 and belongs to the user of this process.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a private key can look like besides PKCS #8.
#[derive(Debug, Clone, Copy)]
pub enum KeyFormat {
    /// P-256 in the format of SEC 1, as K3s writes it.
    EllipticCurve,
    /// RSA in the format of PKCS #1, as kubeadm writes it.
    Rsa,
}

/// What makes a certificate a client's.
const CLIENT: &str = "extendedKeyUsage=clientAuth";

/// An authority, and the server's certificate for `localhost` and 127.0.0.1.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
    openssl: Tool,
}

impl Certificates {
    /// Makes them in `folder`; the server's key is given to `owner`, as PostgreSQL demands.
    pub(super) fn create(folder: PathBuf, owner: ServerUser) -> Result<Self> {
        let certificates = Self::in_folder(folder)?;
        owner.own(&certificates.server_key())?;
        Ok(certificates)
    }

    /// Makes them in `folder`, for a server that runs as the user of this process.
    pub fn in_folder(folder: PathBuf) -> Result<Self> {
        Self::for_names(folder, "subjectAltName=DNS:localhost,IP:127.0.0.1")
    }

    /// As [`Certificates::in_folder`], with the server's certificate for other names, as OpenSSL's extension `subjectAltName` has them.
    pub fn for_names(folder: PathBuf, names: &str) -> Result<Self> {
        let openssl = Tool::find("openssl", "apt-get install openssl")?;
        let certificates = Self { folder, openssl };
        certificates.authority("ca", "Bulkhead test authority")?;
        certificates.issue("server", "localhost", names, "3650")?;
        Ok(certificates)
    }

    /// The authority's certificate: what clients trust.
    #[must_use]
    pub fn authority_certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Makes the certificate of another authority, which signed nothing here.
    pub fn foreign_authority(&self) -> Result<PathBuf> {
        self.authority("foreign-ca", "Somebody else's authority")?;
        Ok(self.folder.join("foreign-ca.crt"))
    }

    /// Issues a client certificate for the role `common_name`.
    pub fn issue_client(&self, common_name: &str) -> Result<ClientCertificate> {
        self.client(&format!("client-{common_name}"), common_name, "3650")
    }

    /// Issues a client certificate that expired yesterday.
    pub fn issue_expired_client(&self, common_name: &str) -> Result<ClientCertificate> {
        self.client(&format!("expired-{common_name}"), common_name, "-1")
    }

    /// Issues a client certificate whose key is in a format of its own, as older tools write it.
    pub fn issue_traditional_client(&self, common_name: &str, format: KeyFormat) -> Result<ClientCertificate> {
        let name = format!("{format:?}-{common_name}");
        let key = format!("{name}.key");
        match format {
            KeyFormat::EllipticCurve => self.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key])?,
            KeyFormat::Rsa => self.openssl(&["genrsa", "-traditional", "-out", &key, "2048"])?,
        }
        set_private(&self.folder.join(key))?;
        self.sign(&name, common_name, CLIENT, "3650")?;
        Ok(self.issued(&name))
    }

    fn client(&self, name: &str, common_name: &str, days: &str) -> Result<ClientCertificate> {
        self.issue(name, common_name, CLIENT, days)?;
        Ok(self.issued(name))
    }

    fn issued(&self, name: &str) -> ClientCertificate {
        ClientCertificate {
            certificate: self.folder.join(format!("{name}.crt")),
            key: self.folder.join(format!("{name}.key")),
        }
    }

    /// The server's certificate.
    #[must_use]
    pub fn server_certificate(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    /// The server's private key.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    fn authority(&self, name: &str, common_name: &str) -> Result<()> {
        self.make_key(name)?;
        let subject = format!("/CN={common_name}");
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        self.openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            &key,
            "-days",
            "3650",
            "-subj",
            &subject,
            "-out",
            &certificate,
        ])
    }

    fn issue(&self, name: &str, common_name: &str, extension: &str, days: &str) -> Result<()> {
        self.make_key(name)?;
        self.sign(name, common_name, extension, days)
    }

    /// Makes a certificate for the key that is there.
    fn sign(&self, name: &str, common_name: &str, extension: &str, days: &str) -> Result<()> {
        let [key, request, certificate, extensions] = ["key", "csr", "crt", "ext"].map(|suffix| format!("{name}.{suffix}"));
        let subject = format!("/CN={common_name}");
        self.openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", &request])?;
        let path = self.folder.join(&extensions);
        // Version 3 is what rustls demands of a certificate; an extension makes it one.
        let text = format!("basicConstraints=critical,CA:false\n{extension}\n");
        std::fs::write(&path, text).map_err(Error::on_path("write", &path))?;
        let signed = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
        ];
        let rest = ["-days", days, "-extfile", &extensions, "-out", &certificate];
        self.openssl(&[signed.as_slice(), rest.as_slice()].concat())
    }

    fn make_key(&self, name: &str) -> Result<()> {
        let key = format!("{name}.key");
        self.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key])?;
        set_private(&self.folder.join(key))
    }

    fn openssl(&self, arguments: &[&str]) -> Result<()> {
        run(self.openssl.command(arguments).current_dir(&self.folder)).map(drop)
    }
}

fn set_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(Error::on_path("change the mode of", path))
}
