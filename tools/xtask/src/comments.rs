//! Every message, field, enum value, service and method of `proto/` says what it means: clients in other languages see
//! nothing else.

use std::collections::BTreeMap;

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

use crate::Finding;

// Numbers of the fields of descriptor.proto; a path of them, and of indices, names each part of a file.
const FILE_MESSAGES: i32 = 4;
const FILE_ENUMS: i32 = 5;
const FILE_SERVICES: i32 = 6;
const MESSAGE_FIELDS: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUMS: i32 = 4;
const ENUM_VALUES: i32 = 2;
const SERVICE_METHODS: i32 = 2;

/// A finding for each part of our own files that has no comment before it.
pub(crate) fn missing(descriptors: &FileDescriptorSet) -> Vec<Finding> {
    descriptors.file.iter().filter(|file| file.name().starts_with("usp/")).flat_map(missing_in).collect()
}

fn missing_in(file: &FileDescriptorProto) -> Vec<Finding> {
    let mut parts = Vec::new();
    for (index, message) in (0..).zip(&file.message_type) {
        add_message(&mut parts, &[FILE_MESSAGES, index], message);
    }
    for (index, words) in (0..).zip(&file.enum_type) {
        add_enum(&mut parts, &[FILE_ENUMS, index], words);
    }
    for (index, service) in (0..).zip(&file.service) {
        let path = [FILE_SERVICES, index];
        parts.push((path.to_vec(), service.name().to_owned()));
        for (index, method) in (0..).zip(&service.method) {
            parts.push((below(&path, SERVICE_METHODS, index), method.name().to_owned()));
        }
    }
    let locations = file.source_code_info.iter().flat_map(|source| &source.location);
    let places: BTreeMap<_, _> = locations.map(|location| (location.path.as_slice(), location)).collect();
    let mut found = Vec::new();
    for (path, name) in parts {
        let place = places.get(path.as_slice());
        let has_comment = place.is_some_and(|place| !place.leading_comments().trim().is_empty());
        if !has_comment {
            let line =
                place.and_then(|place| place.span.first()).and_then(|line| usize::try_from(*line).ok());
            let advice = format!("say before `{name}` what it means: unit, limits, what empty stands for");
            found.push(Finding::new(
                format!("proto/{}", file.name()),
                line.unwrap_or(0) + 1,
                "comment",
                advice,
            ));
        }
    }
    found
}

type Parts = Vec<(Vec<i32>, String)>;

fn add_message(parts: &mut Parts, path: &[i32], message: &DescriptorProto) {
    if message.options.as_ref().is_some_and(|options| options.map_entry()) {
        return; // The compiler makes these up for maps.
    }
    parts.push((path.to_vec(), message.name().to_owned()));
    for (index, field) in (0..).zip(&message.field) {
        parts.push((below(path, MESSAGE_FIELDS, index), field.name().to_owned()));
    }
    for (index, nested) in (0..).zip(&message.nested_type) {
        add_message(parts, &below(path, MESSAGE_NESTED, index), nested);
    }
    for (index, words) in (0..).zip(&message.enum_type) {
        add_enum(parts, &below(path, MESSAGE_ENUMS, index), words);
    }
}

fn add_enum(parts: &mut Parts, path: &[i32], words: &EnumDescriptorProto) {
    parts.push((path.to_vec(), words.name().to_owned()));
    for (index, value) in (0..).zip(&words.value) {
        parts.push((below(path, ENUM_VALUES, index), value.name().to_owned()));
    }
}

fn below(path: &[i32], field: i32, index: i32) -> Vec<i32> {
    [path, &[field, index]].concat()
}
