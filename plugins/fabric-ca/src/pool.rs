//! The certificates of a home, as those who may have issued others: [`Pool`].

use crate::certificate::{Certificate, Signature};

/// Certificates on the way from one to its root.
const MAX_LENGTH: usize = 10;

/// Certificates that may have issued others.
pub(crate) struct Pool<'c>(Vec<&'c Certificate>);

/// Where the way from a certificate up to its root ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chain {
    /// At a root that has signed itself, and all signatures on the way hold.
    Root,
    /// Before it: nobody here has this name, or this key.
    Missing(String),
    /// At a signature that does not hold, or an issuer that is no CA: whose.
    Broken(String),
    /// At a signature of an algorithm that is not looked into.
    Unchecked(String),
}

impl<'c> Pool<'c> {
    /// Of these.
    pub(crate) fn new(certificates: impl IntoIterator<Item = &'c Certificate>) -> Self {
        Self(certificates.into_iter().collect())
    }

    /// Whether a certificate of this key is among them.
    pub(crate) fn has_key(&self, identifier: &str) -> bool {
        self.0
            .iter()
            .any(|certificate| certificate.subject_key.as_deref() == Some(identifier))
    }

    /// Whether the issuer that `certificate` names has signed it; `None` where that one is not here. Of several with one name, one is enough.
    pub(crate) fn signature(&self, certificate: &Certificate) -> Option<Signature> {
        self.issuer(certificate).map(|(_, signature)| signature)
    }

    fn issuer(&self, certificate: &Certificate) -> Option<(&'c Certificate, Signature)> {
        let named = self.0.iter().filter(|issuer| certificate.names(issuer));
        let tried = named.map(|issuer| (*issuer, certificate.signed_by(&issuer.key)));
        tried.reduce(|best, next| if best.1 == Signature::Valid { best } else { next })
    }

    /// Goes up to the root.
    pub(crate) fn chain(&self, certificate: &'c Certificate) -> Chain {
        let mut at = certificate;
        for _ in 0..MAX_LENGTH {
            let (issuer, signature) = match at.is_self_issued() {
                true => (at, at.signed_by(&at.key)),
                false => match self.issuer(at) {
                    Some(found) => found,
                    None => return Chain::Missing(at.issuer.clone()),
                },
            };
            match signature {
                Signature::Invalid => return Chain::Broken(at.subject.clone()),
                Signature::Unchecked(algorithm) => return Chain::Unchecked(algorithm),
                Signature::Valid if !at.is_self_issued() && !issuer.is_authority => return Chain::Broken(issuer.subject.clone()),
                Signature::Valid if at.is_self_issued() => return Chain::Root,
                Signature::Valid => at = issuer,
            }
        }
        Chain::Broken(certificate.subject.clone())
    }
}
