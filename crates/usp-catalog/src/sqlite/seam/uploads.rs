use std::collections::HashSet;

use async_trait::async_trait;
use usp_model::{Act, FileId, Result, Upload, UploadId};

use crate::UploadFacts;
use crate::records::{NewUpload, UploadProgress, UploadRecord};
use crate::sqlite::tx::Tx;
use crate::sqlite::{SqliteCatalog, uploads};

#[async_trait]
impl UploadFacts for SqliteCatalog {
    async fn create_upload(&self, act: Act, upload: NewUpload) -> Result<Upload> {
        self.writer.write("create upload", act, move |tx| uploads::create(tx, &upload)).await
    }

    async fn upload(&self, id: &UploadId) -> Result<UploadRecord> {
        let id = *id;
        self.readers.read("find upload", move |conn| uploads::record(conn, &id)).await
    }

    async fn upload_of_file(&self, file_id: &FileId) -> Result<Upload> {
        let file_id = *file_id;
        self.readers.read("find upload", move |conn| uploads::of_file(conn, &file_id)).await
    }

    async fn append_upload(&self, act: Act, progress: UploadProgress) -> Result<Upload> {
        self.writer.write("append to upload", act, move |tx| uploads::append(tx, &progress)).await
    }

    async fn announce_upload_size(&self, act: Act, id: &UploadId, size_bytes: u64) -> Result<Upload> {
        let id = *id;
        self.writer.write("announce size", act, move |tx| uploads::announce_size(tx, &id, size_bytes)).await
    }

    async fn join_uploads(
        &self,
        act: Act,
        upload: NewUpload,
        parts: Vec<UploadId>,
        sha256_state: Vec<u8>,
    ) -> Result<Upload> {
        let join = move |tx: &Tx<'_>| uploads::join(tx, &upload, &parts, &sha256_state);
        self.writer.write_alone("join uploads", act, join).await
    }

    async fn terminate_upload(&self, act: Act, id: &UploadId) -> Result<()> {
        let id = *id;
        self.writer.write("terminate upload", act, move |tx| uploads::terminate(tx, &id)).await
    }

    async fn expire_uploads(&self, act: Act, limit: u32, receiving: HashSet<UploadId>) -> Result<u64> {
        self.writer.write("expire uploads", act, move |tx| uploads::expire(tx, limit, &receiving)).await
    }
}
