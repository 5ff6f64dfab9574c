//! Schemas of the model's closed vocabularies, so that the OpenAPI document lists every word.

use usp_model::{
    Compression, DigestAlgorithm, EventKind, FileState, PrincipalKind, QueueKind, Release, Role, RunState,
    StepState,
};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};

macro_rules! word_schemas {
    ($($name:ident: $words:ty;)+) => {
        $(pub(crate) fn $name() -> RefOr<Schema> {
            of(<$words>::ALL.iter().map(|word| word.as_str()))
        })+
    };
}

word_schemas! {
    compression: Compression;
    event_kind: EventKind;
    file_state: FileState;
    principal_kind: PrincipalKind;
    queue_kind: QueueKind;
    release: Release;
    role: Role;
    run_state: RunState;
    step_state: StepState;
}

/// The same, where `null` says that there is none.
pub(crate) fn release_or_null() -> RefOr<Schema> {
    let words = Release::ALL.iter().map(|word| Some(word.as_str())).chain([None]);
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(types).enum_values(Some(words)).into()
}

/// Any of them, in any order.
pub(crate) fn digest_algorithms() -> RefOr<Schema> {
    ArrayBuilder::new().items(of(DigestAlgorithm::ALL.iter().map(|word| word.as_str()))).into()
}

fn of(words: impl Iterator<Item = &'static str>) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

/// A body that is not JSON.
#[derive(Debug)]
pub(crate) struct Bytes;

impl utoipa::PartialSchema for Bytes {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::Binary)))
            .into()
    }
}

impl utoipa::ToSchema for Bytes {}
