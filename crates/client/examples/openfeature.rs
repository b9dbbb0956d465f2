//! Asks a License Client through OpenFeature's own client for Rust.
//!
//! ```text
//! cargo run -p license-client --example openfeature -- http://license-client:8010
//! ```

use std::time::Duration;

use open_feature::{Client, EvaluationError, OpenFeature};
use open_feature_ofrep::{OfrepOptions, OfrepProvider};

/// A client of the License Client at `url`. The address has no slash at its
/// end.
pub async fn client(url: &str) -> Result<Client, Box<dyn std::error::Error>> {
    let options = OfrepOptions {
        base_url: url.trim_end_matches('/').to_owned(),
        connect_timeout: Duration::from_secs(2),
        ..OfrepOptions::default()
    };
    let mut api = OpenFeature::default();
    api.set_provider(OfrepProvider::new(options).await?).await;
    Ok(api.create_client())
}

/// Whether a feature may be used. Each question is a call.
pub async fn is_available(client: &Client, feature: &str) -> Result<bool, EvaluationError> {
    client.get_bool_value(feature, None, None).await
}

/// A limit; -1 means unlimited.
pub async fn limit(client: &Client, limit: &str) -> Result<i64, EvaluationError> {
    client.get_int_value(limit, None, None).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let client = client(&url.ok_or("usage: openfeature LICENSE_CLIENT_URL")?).await?;
    for feature in ["module.live_view", "module.map_view"] {
        println!("{feature}: {:?}", is_available(&client, feature).await);
    }
    println!("limit.cameras: {:?}", limit(&client, "limit.cameras").await);
    Ok(())
}
