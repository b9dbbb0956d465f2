//! The vendor's staff at the console, without a browser.

use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;

use crate::harness::{ADMIN_TOKEN, Vendor};

/// A browser that is signed in to the console.
pub struct SignedIn {
    http: reqwest::Client,
    url: String,
    cookie: String,
}

impl SignedIn {
    pub async fn to(vendor: &Vendor) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none());
        let http = http.build().unwrap();
        let form = "application/x-www-form-urlencoded";
        let sign_in = http.post(format!("{}/console/sign-in", vendor.url));
        let sign_in = sign_in.header(CONTENT_TYPE, form);
        let sign_in = sign_in.body(format!("token={ADMIN_TOKEN}"));
        let answer = sign_in.send().await.unwrap();
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        Self {
            http,
            url: vendor.url.clone(),
            cookie: cookie.split(';').next().unwrap().to_owned(),
        }
    }

    /// What anybody is answered.
    pub async fn without_session(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.url));
        request.send().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.url));
        request.header(COOKIE, &self.cookie).send().await.unwrap()
    }
}
