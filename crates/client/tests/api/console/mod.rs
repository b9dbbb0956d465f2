//! The console, in a real browser.

mod changes;
mod pages;
mod program;
mod sign_in;
mod sold;
mod updates;

use crate::chromium::Chromium;
use crate::database::Engine;
use crate::harness::Site;
use crate::vendor::Vendor;

const FORM: &str = "application/x-www-form-urlencoded";
const MAP_VIEW: &str = "module.map_view";

/// How the row of a feature reads.
const MAP: &str = "return [...document.querySelectorAll('tbody tr')]
    .find((row) => row.textContent.includes('module.map_view')).querySelector('.chip').textContent";

struct Scene {
    vendor: Vendor,
    site: Site,
    browser: Chromium,
}

impl Scene {
    async fn unlicensed(flags: &[&str]) -> Self {
        let vendor = Vendor::start().await;
        let keys = vendor.trusted_keys();
        let flags = [&["--license-trusted-keys", keys.as_str()], flags].concat();
        let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
        Self {
            vendor,
            site,
            browser: Chromium::start().await,
        }
    }

    async fn licensed() -> (Self, String) {
        let scene = Self::unlicensed(&[]).await;
        let key = scene.vendor.issue_professional().await;
        assert_eq!(scene.site.activate(&key).await.0, 200);
        (scene, key)
    }

    async fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.site.url)).await;
    }

    async fn shows(&self, title: &str) {
        self.browser.shows(title).await;
    }

    async fn press(&self, words: &str) {
        self.browser.press(words).await;
    }

    async fn type_into(&self, selector: &str, text: &str) {
        self.browser.type_into(selector, text).await;
    }

    async fn text(&self) -> String {
        self.browser.text().await
    }

    async fn end(self) {
        self.browser.end().await;
        self.site.end().await;
    }
}
