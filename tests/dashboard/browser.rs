//! Headless Chromium, driven by its driver over WebDriver.
#![expect(clippy::panic, reason = "a test that can't go on may stop there")]

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::common::{
    process::{PATIENCE, Process},
    skip::skip,
};

/// Chromium with an empty profile.
pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Driver,
    url: String,
    http: reqwest::Client,
    _profile: tempfile::TempDir,
}

/// Ends with its browser when it is dropped: they are one process group.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The driver and the port that it chose, or why there is none.
fn drive() -> Result<(Driver, u16), String> {
    // It takes a free port of IPv4 and the same one of IPv6, which may be in use.
    (0..3)
        .find_map(|_| try_to_drive().transpose())
        .unwrap_or_else(|| Err("chromedriver named no port".to_owned()))
}

/// The same, or nothing if the driver named no port.
fn try_to_drive() -> Result<Option<(Driver, u16)>, String> {
    let mut child = Command::new("chromedriver")
        .args(["--port=0", "--log-level=WARNING"])
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("chromedriver: {error}"))?;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let driver = Driver(child);
    let port = lines.map_while(Result::ok).find_map(|line| {
        line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
    });
    Ok(port.map(|port| (driver, port)))
}

impl Browser {
    /// A browser that is at the dashboard of `server`, or nothing where there is no Chromium.
    pub(crate) async fn open(server: &Process) -> Option<Self> {
        Self::open_with(server, &[]).await
    }

    /// The same, with more arguments for Chromium.
    pub(crate) async fn open_with(server: &Process, arguments: &[String]) -> Option<Self> {
        let (driver, port) = match drive() {
            Ok(driver) => driver,
            Err(why) => {
                let required = std::env::var_os("CI").is_some_and(|ci| ci == "true");
                assert!(!required, "no Chromium to test the dashboard with: {why}");
                skip(format_args!("no Chromium with its driver: {why}"));
                return None;
            }
        };
        let profile = tempfile::tempdir().unwrap();
        let profile_argument = format!("--user-data-dir={}", profile.path().display());
        let standard = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1000",
            &profile_argument,
        ];
        let arguments: Vec<_> =
            standard.into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let url = format!("http://127.0.0.1:{port}");
        let capabilities = capabilities.as_object().unwrap().clone();
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&url)
            .await
            .unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let browser = Self { client, driver, url, http, _profile: profile };
        browser.client.goto(&format!("http://{}/", server.address())).await.unwrap();
        Some(browser)
    }

    /// Waits for what an XPath or, without a leading slash, a CSS selector finds.
    pub(crate) async fn see(&self, what: &str) -> Element {
        let locator = if what.starts_with('/') { Locator::XPath(what) } else { Locator::Css(what) };
        match self.client.wait().at_most(PATIENCE).for_element(locator).await {
            Ok(element) => element,
            Err(error) => {
                let page = self.client.execute("return document.body.innerText", vec![]).await;
                panic!("no {what} ({error}) in {}", page.unwrap().as_str().unwrap_or_default())
            }
        }
    }

    /// Waits until some element's own text has that in it.
    pub(crate) async fn read(&self, text: &str) -> Element {
        self.see(&format!("//main//*[text()[contains(., {text:?})]]")).await
    }

    /// The control under a label.
    pub(crate) async fn field(&self, label: &str) -> Element {
        self.see(&format!("//label[normalize-space()={label:?}]/following-sibling::*[1]")).await
    }

    /// Clicks on what an XPath or CSS selector finds; finds it again if the page draws it anew meanwhile.
    pub(crate) async fn click(&self, what: &str) {
        loop {
            match self.see(what).await.click().await {
                Err(error) if error.is_stale_element_reference() => {}
                clicked => return clicked.unwrap(),
            }
        }
    }

    /// Pushes the button, or follows the link, of that text.
    pub(crate) async fn push(&self, text: &str) {
        self.click(&format!("//*[self::button or self::a][normalize-space()={text:?}]")).await;
    }

    /// Opens what is folded away under that text.
    pub(crate) async fn unfold(&self, text: &str) {
        self.click(&format!("//details[not(@open)]/summary[.={text:?}]")).await;
        self.see(&format!("//details[@open]/summary[.={text:?}]")).await;
    }

    /// Types into the control under a label, in the place of what is there.
    pub(crate) async fn write(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Opens a page by its address.
    pub(crate) async fn page(&self, address: &str) {
        let script = "location.hash = arguments[0]";
        self.client.execute(script, vec![json!(address)]).await.unwrap();
    }

    /// Gives files to the file input that takes such.
    pub(crate) async fn pick(&self, input: &str, files: &[&Path]) {
        let paths: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
        self.see(input).await.send_keys(&paths.join("\n")).await.unwrap();
    }

    /// Drops a folder or file on what a selector finds, as from a file manager.
    pub(crate) async fn drop_on(&self, what: &str, path: &Path) {
        self.see(what).await;
        let script = "const box = document.querySelector(arguments[0]).getBoundingClientRect(); return [box.x + 20, box.y + 20]";
        let place = self.client.execute(script, vec![json!(what)]).await.unwrap();
        let data = json!({ "items": [], "files": [path], "dragOperationsMask": 1 });
        for kind in ["dragEnter", "dragOver", "drop"] {
            let event = json!({ "type": kind, "x": place[0], "y": place[1], "data": data });
            self.cdp("Input.dispatchDragEvent", event).await;
        }
    }

    /// Makes the page so many pixels wide; a window can't be as narrow as a phone.
    pub(crate) async fn width(&self, pixels: u32) {
        let size = json!({ "width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600 });
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Makes the browser send that many bytes per second, so that megabytes take long enough to do
    /// something meanwhile; -1 is as fast as it can.
    pub(crate) async fn upload_at(&self, speed: i64) {
        let slow = json!({ "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed });
        self.cdp("Network.enable", json!({})).await;
        self.cdp("Network.emulateNetworkConditions", slow).await;
    }

    /// Sends a command of the Chrome DevTools Protocol.
    pub(crate) async fn cdp(&self, command: &str, parameters: Value) {
        let session = self.client.session_id().await.unwrap().unwrap();
        let url = format!("{}/session/{session}/goog/cdp/execute", self.url);
        let body = json!({ "cmd": command, "params": parameters });
        let status = self.http.post(url).json(&body).send().await.unwrap().status();
        assert!(status.is_success(), "{command}: {status}");
    }

    /// What the browser logged since the last look: `browser` is the console, `performance` the
    /// network.
    async fn log(&self, kind: &str) -> Vec<Value> {
        let session = self.client.session_id().await.unwrap().unwrap();
        let url = format!("{}/session/{session}/se/log", self.url);
        let request = self.http.post(url).json(&json!({ "type": kind }));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["value"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// Makes sure that nothing went wrong in the page and that it asked no other host.
    pub(crate) async fn assert_clean(&self, server: &Process) {
        let errors: Vec<_> = self.log("browser").await;
        let errors: Vec<_> = errors.iter().filter(|entry| entry["level"] == "SEVERE").collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let own = format!("http://{}/", server.address());
        let mut asked = 0;
        for entry in self.log("performance").await {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            if message["message"]["method"] != "Network.requestWillBeSent" {
                continue;
            }
            let url = message["message"]["params"]["request"]["url"].as_str().unwrap().to_owned();
            // What a new window shows before it is told where to go: `chrome:`, `chrome-untrusted:`, to which no page leads.
            if url.starts_with("chrome") || url.starts_with("data:") {
                continue;
            }
            assert!(url.starts_with(&own) || url.starts_with(&format!("blob:{own}")), "{url}");
            asked += 1;
        }
        assert!(asked > 0, "the browser's log has no request");
    }

    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
        drop(self.driver);
    }
}
