//! Style, script and icon: embedded, their addresses carry a hash of their content so that browsers keep them for a year.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

struct Asset {
    stem: &'static str,
    extension: &'static str,
    media_type: &'static str,
    content: &'static str,
}

static ASSETS: [Asset; 3] = [
    Asset {
        stem: "daybreak",
        extension: "css",
        media_type: "text/css; charset=utf-8",
        content: include_str!("../assets/daybreak.css"),
    },
    Asset {
        stem: "daybreak",
        extension: "js",
        media_type: "text/javascript; charset=utf-8",
        content: include_str!("../assets/daybreak.js"),
    },
    Asset { stem: "icon", extension: "svg", media_type: "image/svg+xml", content: include_str!("../assets/icon.svg") },
];

/// File names with their hashes, in the order of [`ASSETS`].
static NAMES: LazyLock<[String; 3]> = LazyLock::new(|| {
    std::array::from_fn(|index| {
        let asset = &ASSETS[index];
        format!("{}.{:08x}.{}", asset.stem, crc32fast::hash(asset.content.as_bytes()), asset.extension)
    })
});

/// Address of the style sheet.
pub fn style() -> String {
    format!("/assets/{}", NAMES[0])
}

/// Address of the script.
pub fn script() -> String {
    format!("/assets/{}", NAMES[1])
}

/// Address of the icon.
pub fn icon() -> String {
    format!("/assets/{}", NAMES[2])
}

fn answer(index: usize, cache: &'static str) -> Response {
    let asset = &ASSETS[index];
    ([(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, cache)], asset.content).into_response()
}

/// `/assets/{file}`: kept for good under its present name; under the name of another version the present content, not kept.
pub async fn serve(Path(file): Path<String>) -> Response {
    if let Some(index) = NAMES.iter().position(|name| *name == file) {
        return answer(index, "public, max-age=31536000, immutable");
    }
    let wanted = file.split_once('.').zip(file.rsplit_once('.'));
    let known = ASSETS.iter().position(|asset| {
        wanted.is_some_and(|((stem, _), (_, extension))| stem == asset.stem && extension == asset.extension)
    });
    match known {
        Some(index) => answer(index, "no-cache"),
        None => (StatusCode::NOT_FOUND, "There is no such file here.\n").into_response(),
    }
}

/// `/favicon.ico`, asked for by browsers of their own accord.
pub async fn favicon() -> Response {
    answer(2, "public, max-age=86400")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_small() {
        let total: usize = ASSETS.iter().map(|asset| asset.content.len()).sum();
        assert!(total < 60_000, "{total} bytes");
    }

    #[test]
    fn assets_name_no_other_host() {
        for asset in &ASSETS {
            let text = asset.content.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !text.contains("http://") && !text.contains("https://") && !text.contains("url("),
                "{}",
                asset.stem
            );
        }
    }
}
