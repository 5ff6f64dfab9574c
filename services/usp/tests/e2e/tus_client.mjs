// Drives tus-js-client against a running usp and says on each line what it found; any surprise ends it with 1.
//
//   USP_TOKEN=... node tus_client.mjs http://127.0.0.1:8080 DIRECTORY_WITH_NODE_MODULES

import { createHash, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'

const [base, packages] = process.argv.slice(2)
const tus = createRequire(`${packages}/`)('tus-js-client')
const headers = { Authorization: `Bearer ${process.env.USP_TOKEN}` }
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

// Runs one upload to its end; resolves with the file's id. `options` may pause it.
function upload(content, options) {
  return new Promise((resolve, reject) => {
    const begun = new tus.Upload(content, {
      endpoint: `${base}/api/v1/uploads`,
      headers,
      retryDelays: [50, 100, 200, 400, 800],
      storeFingerprintForResuming: false,
      onError: reject,
      onSuccess: ({ lastResponse }) => resolve(lastResponse.getHeader('Usp-File-Id')),
      ...options,
    })
    begun.start()
  })
}

async function check(what, id, content) {
  const answer = await fetch(`${base}/api/v1/files/${id}/content`, { headers })
  const read = Buffer.from(await answer.arrayBuffer())
  if (answer.status !== 200 || !read.equals(content)) {
    throw new Error(`${what}: ${answer.status}, ${read.length} bytes came back of ${content.length}`)
  }
  console.log(`${what}: identical`)
}

const content = randomBytes(5 * 1024 * 1024 + 17)

const parts = await upload(content, {
  chunkSize: 1024 * 1024,
  metadata: { filename: 'in parts.bin', filetype: 'application/octet-stream', sha256: sha256(content) },
})
await check('in parts', parts, content)

const whole = await upload(content, { uploadDataDuringCreation: true, metadata: { filename: 'at once.bin' } })
await check('at once', whole, content)

// Paused after the second part, then taken up by another client that knows only the address.
const address = await new Promise((resolve, reject) => {
  const first = new tus.Upload(content, {
    endpoint: `${base}/api/v1/uploads`,
    headers,
    chunkSize: 1024 * 1024,
    metadata: { filename: 'resumed.bin' },
    storeFingerprintForResuming: false,
    onError: reject,
    onChunkComplete: (_size, accepted) => {
      if (accepted >= 2 * 1024 * 1024) first.abort().then(() => resolve(first.url), reject)
    },
  })
  first.start()
})
await check('resumed', await upload(content, { uploadUrl: address, chunkSize: 1024 * 1024 }), content)

// A client that asks for an upload whose last answer it lost finds it complete.
await check('asked again', await upload(content, { uploadUrl: address }), content)

// Four parts at the same time; and one of a length that is not known before its end.
const parallel = await upload(content, {
  parallelUploads: 4,
  metadata: { filename: 'parallel.bin', sha256: sha256(content) },
})
await check('parallel', parallel, content)

const deferred = await upload(Readable.from(content), {
  uploadLengthDeferred: true,
  chunkSize: 1024 * 1024,
  metadata: { filename: 'deferred.bin', sha256: sha256(content) },
})
await check('deferred', deferred, content)

const empty = Buffer.alloc(0)
await check('empty', await upload(empty, { metadata: { filename: 'empty.bin' } }), empty)

const ended = await new Promise((resolve, reject) => {
  const first = new tus.Upload(content, {
    endpoint: `${base}/api/v1/uploads`,
    headers,
    chunkSize: 1024 * 1024,
    metadata: { filename: 'ended.bin' },
    storeFingerprintForResuming: false,
    onError: reject,
    onChunkComplete: () => first.abort(true).then(() => resolve(first.url), reject),
  })
  first.start()
})
const answer = await fetch(ended, { method: 'HEAD', headers: { ...headers, 'Tus-Resumable': '1.0.0' } })
console.log(`ended: ${answer.status}`)
