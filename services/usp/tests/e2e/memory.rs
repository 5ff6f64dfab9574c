//! Memory that does not grow with the files.

use anyhow::Result;
use usp_testkit::generate::{bytes, csv};

use crate::{alone, say, text};

const MIB: u64 = 1 << 20;

/// 16 × 256 MiB and a table of 500 MB in the long run.
fn sizes() -> (usize, u64) {
    if std::env::var_os("USP_TORTURE").is_some() { (256 << 20, 6_900_000) } else { (16 << 20, 250_000) }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_uploads_at_once_and_a_long_table_stay_under_256_mib() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let (size, rows) = sizes();
        let table = http.put("long.csv", "text/csv", csv(1, rows)).await?.must(201)?.value()?;
        let noise = bytes(1, size);
        let uploads = (0..16).map(|n| {
            // Each differs from the first byte on, so that nothing is shared.
            let (head, body) = (vec![n; 64], noise.clone());
            let pieces = std::iter::once(head).chain(scrambled(body, n));
            let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces.map(Ok::<_, std::io::Error>)));
            let path = usp_testkit::file_path("default", &format!("noise-{n}"));
            http.send(http.request(reqwest::Method::PUT, &path).body(body))
        });
        for answer in futures::future::join_all(uploads).await {
            answer?.must(201)?;
        }
        http.wait_ready(text(&table, "id")?).await?;
        let peak = usp.door()?.memory_peak_bytes()?;
        say(format_args!("memory peak {} MiB", peak / MIB));
        assert!(peak <= 256 * MIB, "{} MiB", peak / MIB);
        Ok(())
    })
    .await
}

/// The bytes in pieces, with a change in every 2 KiB: chunks are longer, so that no two uploads share one.
fn scrambled(content: Vec<u8>, n: u8) -> impl Iterator<Item = Vec<u8>> + Send + 'static {
    const PIECE: usize = 64 << 10;
    const EVERY: usize = 2 << 10;
    (0..content.len().div_ceil(PIECE)).map(move |index| {
        let mut piece = content[index * PIECE..content.len().min((index + 1) * PIECE)].to_vec();
        piece.iter_mut().step_by(EVERY).for_each(|byte| *byte ^= n);
        piece
    })
}
