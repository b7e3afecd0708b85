//! HTTP/1.1 requests to endpoints with a URL, over the same dialer as plain connections. The host adds the operator's authentication; the plugin never
//! holds a credential; requests to S3 are signed, and access tokens renewed when a server refuses them. Connections are kept alive between requests;
//! redirects are not followed and nothing is retried.

mod aws;
mod body;
mod customer_key;
mod exchange;
mod own;
mod pool;
mod request;

use std::sync::Arc;

use bulkhead_model::Fault;

pub use exchange::{Exchange, ResponseHead};
pub use own::{Answer, Question, ask};

use super::Budget;
use super::endpoint::Endpoints;
use body::RequestBody;
use pool::Pool;

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Name of a granted endpoint with a `url`.
    pub endpoint: String,
    /// "GET", …
    pub method: String,
    /// Path and query below the URL, percent-encoded, beginning with "/".
    pub path: String,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Length of the body; `None` sends it chunked.
    pub content_length: Option<u64>,
}

/// The HTTP client of one plugin instance.
#[derive(Debug)]
pub struct HttpClient {
    endpoints: Endpoints,
    pool: Arc<Pool>,
    budget: Arc<Budget>,
}

impl HttpClient {
    /// Over the plugin's endpoints, within a budget.
    #[must_use]
    pub fn new(endpoints: Endpoints, budget: Arc<Budget>) -> Self {
        Self {
            endpoints,
            pool: Arc::default(),
            budget,
        }
    }

    /// Begins a request.
    ///
    /// # Errors
    /// `not-granted`, `unreachable`, `permission-denied` for headers that are the host's business.
    pub async fn send(&self, request: Request) -> Result<Exchange, Fault> {
        let endpoint = self.endpoints.get(&request.endpoint)?;
        let url = request::base_url(&request.endpoint, &endpoint.grant.destination)?;
        let (head, bearer) = self.budget.within(request::head(&url, &endpoint.grant, &request)).await?;
        let lease = self
            .budget
            .within(self.pool.take(&request.endpoint, endpoint, &url, &self.budget))
            .await?;
        let (sender, body) = RequestBody::channel(request.content_length);
        let length = request.content_length;
        let exchange = Exchange::begin(lease, head.map(|()| body), sender, length, self.budget.clone());
        Ok(exchange.renewing(bearer))
    }
}
