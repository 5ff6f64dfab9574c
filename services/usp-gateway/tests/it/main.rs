//! The doors of a real gateway, over real sockets, in front of a storage that is only pretended.

mod doors;
mod grpc;
mod modules;
mod rest;
mod support;
mod tus;
