//! `usp admin bucket`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use usp_client::types::{Bucket, BucketPatch, NewBucket};
use usp_model::{BucketName, Compression, DigestAlgorithm, Release, RuleName};

use crate::config::ByteSize;
use crate::exit::Ending;
use crate::render::table;
use crate::session::Session;

/// Manage buckets and their policies
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  usp admin bucket ls\n  usp admin bucket add reports --quota 10GiB")]
pub(crate) struct BucketArgs {
    #[command(subcommand)]
    verb: BucketVerb,
}

#[derive(Debug, Subcommand)]
enum BucketVerb {
    /// List buckets
    #[command(after_help = "Example:\n  usp admin bucket ls")]
    Ls,
    /// Show a bucket and its policy
    #[command(after_help = "Example:\n  usp admin bucket get default")]
    Get {
        /// The bucket's name
        name: BucketName,
    },
    /// Make a bucket
    #[command(
        after_help = "Example:\n  usp admin bucket add reports --type text/csv --quota 10GiB --release after_success"
    )]
    Add {
        /// 3 to 63 of a-z, 0-9, '.' and '-'
        name: BucketName,
        #[command(flatten)]
        policy: PolicyArgs,
        /// Share chunks with the buckets that name the same domain; fixed from then on
        #[arg(long, value_name = "DOMAIN")]
        dedup_domain: Option<String>,
    },
    /// Change the policy of a bucket; what is not named stays
    #[command(
        after_help = "Example:\n  usp admin bucket set reports --quota 20GiB\n  usp admin bucket set reports --reset quota_bytes"
    )]
    Set {
        /// The bucket's name
        name: BucketName,
        #[command(flatten)]
        policy: PolicyArgs,
        /// Take a field of the policy back to its default; may be repeated
        #[arg(long, value_name = "FIELD")]
        reset: Vec<String>,
    },
    /// Remove an empty bucket
    #[command(after_help = "Example:\n  usp admin bucket rm reports")]
    Rm {
        /// The bucket's name
        name: BucketName,
    },
}

/// What a bucket accepts and what happens to it.
#[derive(Debug, Args)]
struct PolicyArgs {
    /// Take only this media type or pattern (text/*); may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    media_types: Vec<String>,
    /// Refuse larger files
    #[arg(long, value_name = "SIZE")]
    file_size_max: Option<ByteSize>,
    /// Refuse uploads over so many bytes in all
    #[arg(long, value_name = "SIZE")]
    quota: Option<ByteSize>,
    /// How chunks are kept: auto, none, lz4, zstd
    #[arg(long)]
    compression: Option<Compression>,
    /// Apply only these rules; may be repeated
    #[arg(long = "rule", value_name = "NAME")]
    rules: Vec<RuleName>,
    /// When readers see a file: immediate or after_success
    #[arg(long)]
    release: Option<Release>,
    /// Compute this digest besides SHA-256: sha512, blake3, md5, crc32c; may be repeated
    #[arg(long = "digest", value_name = "ALGORITHM")]
    digests: Vec<DigestAlgorithm>,
}

impl PolicyArgs {
    /// The fields that were named.
    fn fields(&self) -> Map<String, Value> {
        let list = |values: Vec<String>| (!values.is_empty()).then(|| json!(values));
        let texts = |values: &[_]| values.iter().map(ToString::to_string).collect();
        let fields = [
            ("media_types", list(self.media_types.clone())),
            ("file_size_bytes_max", self.file_size_max.map(|size| json!(size.0))),
            ("quota_bytes", self.quota.map(|size| json!(size.0))),
            ("compression", self.compression.map(|word| json!(word))),
            ("rules", list(texts(&self.rules))),
            ("release", self.release.map(|word| json!(word))),
            ("digests", list(self.digests.iter().map(ToString::to_string).collect())),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

pub(super) async fn run(args: BucketArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    match args.verb {
        BucketVerb::Ls => {
            let buckets = client.buckets().await?;
            let row = |bucket: &Bucket| vec![bucket.name.to_string(), bucket.created_at.to_string()];
            session.output.result(&buckets, || table(&buckets.iter().map(row).collect::<Vec<_>>()))
        }
        BucketVerb::Get { name } => {
            let bucket = client.bucket(&name).await?;
            session.output.result(&bucket, || describe(&bucket))
        }
        BucketVerb::Add { name, policy, dedup_domain } => {
            let mut policy = policy.fields();
            policy.extend(dedup_domain.map(|domain| ("dedup_domain".to_owned(), json!(domain))));
            let bucket = client.create_bucket(&NewBucket { name, policy }).await?;
            session.output.outcome(&bucket, || describe(&bucket))
        }
        BucketVerb::Set { name, policy, reset } => {
            let mut policy = policy.fields();
            policy.extend(reset.into_iter().map(|field| (field, Value::Null)));
            if policy.is_empty() {
                return Err(Ending::WrongUsage("say what to change; --help lists it".to_owned()).into());
            }
            let bucket = client.patch_bucket(&name, &BucketPatch { policy }).await?;
            session.output.outcome(&bucket, || describe(&bucket))
        }
        BucketVerb::Rm { name } => {
            client.delete_bucket(&name).await?;
            session.output.outcome(&json!({"deleted": name}), || format!("deleted {name}"))
        }
    }
}

fn describe(bucket: &Bucket) -> String {
    let mut rows = vec![vec!["name".to_owned(), bucket.name.to_string()]];
    rows.extend(bucket.policy.iter().map(|(field, value)| vec![field.clone(), value.to_string()]));
    rows.push(vec!["created".to_owned(), bucket.created_at.to_string()]);
    table(&rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        policy: PolicyArgs,
    }

    #[test]
    fn only_what_is_named_goes_into_the_policy() {
        let fields = |flags: &str| Alone::try_parse_from(flags.split(' ')).unwrap().policy.fields();
        assert!(fields("x").is_empty());
        let policy =
            fields("x --type text/csv --type image/* --quota 1KiB --release after_success --digest md5");
        let expected = json!({
            "media_types": ["text/csv", "image/*"], "quota_bytes": 1024, "release": "after_success", "digests": ["md5"],
        });
        assert_eq!(Value::Object(policy), expected);
    }
}
