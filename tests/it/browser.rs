//! Looks at a page in a real browser: Chromium without a window, at the width of a phone or of a desk, in light or dark.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::{Home, ran};

/// Measures a page in a frame of a certain width and leaves what it found in the document.
const PROBE: &str = r#"<!doctype html><meta charset="utf-8">
<iframe id="frame" width="WIDTH" height="900" style="border:0" src="PAGE"></iframe><pre id="found"></pre>
<script>
  const channel = (value) => { const c = value / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const colour = (text) => text.match(/[\d.]+/g).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const own = colour(getComputedStyle(at).backgroundColor);
      if (own.length < 4 || own[3] > 0) return own;
    }
    return [255, 255, 255];
  };
  onload = () => {
    const page = document.getElementById("frame").contentDocument;
    const all = [...page.querySelectorAll("body *")];
    const named = (element) => element.tagName + "." + element.className + " " + element.textContent.trim().slice(0, 40);
    const wide = all.filter((one) => !one.closest(".scroll *") && one.getBoundingClientRect().right > WIDTH + 0.5);
    const spills = all.filter((one) => !one.closest(".scroll") && one.clientWidth > 0
      && getComputedStyle(one).display !== "inline" && one.scrollWidth > one.clientWidth + 1);
    const written = all.filter((one) => [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim())
      && getComputedStyle(one).display !== "none");
    const faint = written.filter((one) => {
      const [a, b] = [luminance(colour(getComputedStyle(one).color)), luminance(behind(one))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    });
    const levels = [...page.querySelectorAll("h1, h2, h3, h4")].map((one) => Number(one.tagName[1]));
    document.getElementById("found").textContent = JSON.stringify({
      scrolls: page.documentElement.scrollWidth,
      wide: wide.map(named),
      spills: spills.map(named),
      faint: faint.map(named),
      skips: levels.filter((level, place) => level > (place ? levels[place - 1] : 0) + 1),
      unnamed: [...page.querySelectorAll("section, article, [role]")]
        .filter((one) => !one.getAttribute("aria-label") && !page.getElementById(one.getAttribute("aria-labelledby")))
        .map(named),
      foreign: all.filter((one) => one.matches("script:not([type='application/json']), img, iframe, object, style, link")).map(named),
      background: getComputedStyle(page.body).backgroundColor,
      text: page.body.innerText,
    });
  };
</script>"#;

/// What a browser made of a page.
pub struct Seen(Value);

/// Opens a page at a width, in dark where `dark` says so.
pub async fn look(home: &Home, page: &str, width: u32, dark: bool) -> Seen {
    let folder = home.path(&format!("browser-{width}-{dark}"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("page.html"), page).unwrap();
    let probe = PROBE.replace("WIDTH", &width.to_string()).replace("PAGE", "page.html");
    std::fs::write(folder.join("probe.html"), probe).unwrap();
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
    let address = format!("file://{}", folder.join("probe.html").display());
    let dom = chromium(home, &folder, &[&scheme, "--window-size=1300,1000", "--dump-dom", &address]).await;
    let begin = dom.find("<pre id=\"found\">").unwrap() + "<pre id=\"found\">".len();
    let end = begin + dom[begin..].find("</pre>").unwrap();
    let found = dom[begin..end].replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}");
    let found = found.replace("&amp;", "&");
    Seen(serde_json::from_str(&found).unwrap_or_else(|error| panic!("{error}: {found}\n{dom}")))
}

/// Prints a page to PDF and returns the file.
pub async fn print(home: &Home, page: &str) -> PathBuf {
    let folder = home.path("browser-print");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("page.html"), page).unwrap();
    let pdf = folder.join("page.pdf");
    let to = format!("--print-to-pdf={}", pdf.display());
    let address = format!("file://{}", folder.join("page.html").display());
    chromium(home, &folder, &[&to, "--no-pdf-header-footer", &address]).await;
    pdf
}

async fn chromium(home: &Home, folder: &Path, args: &[&str]) -> String {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files",
    ];
    let ran = ran(&home.program("chromium").args(quiet).arg(profile).args(args)).await;
    assert_eq!(ran.status, 0, "chromium: {}", ran.stderr);
    ran.stdout
}

impl Seen {
    /// Asserts that the page can be read: nothing stands out to the right or out of its own box, every text has contrast enough, headings
    /// follow each other, every part has a name, and nothing runs or is fetched.
    pub fn is_readable(&self, width: u32) -> &Self {
        assert!(self.0["scrolls"].as_u64().unwrap() <= u64::from(width), "it scrolls sideways: {:#}", self.0);
        for fault in ["wide", "spills", "faint", "skips", "unnamed", "foreign"] {
            assert!(self.0[fault].as_array().unwrap().is_empty(), "{fault}: {:#}", self.0);
        }
        self
    }

    /// Asserts that texts can be seen on the page.
    pub fn shows(&self, texts: &[&str]) -> &Self {
        let seen = self.0["text"].as_str().unwrap();
        for text in texts {
            assert!(seen.contains(text), "{text:?} is missing in:\n{seen}");
        }
        self
    }

    /// The colour of the page's background.
    pub fn background(&self) -> &str {
        self.0["background"].as_str().unwrap()
    }
}
