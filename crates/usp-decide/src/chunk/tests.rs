use super::*;

const EPOCH: i64 = 7;

fn digest(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

fn place(pack: i64, offset: u64) -> FramePlace {
    FramePlace { pack: PackId(pack), offset, stored_bytes: 60 }
}

fn row(id: i64, number: u8, at: FramePlace) -> ChunkRow {
    let chunk = StoredChunk { id: ChunkId(id), digest: digest(number), size_bytes: 100, place: at };
    ChunkRow { chunk, epoch: EPOCH, is_doubted: false }
}

fn new(number: u8, at: FramePlace) -> ChunkRef {
    ChunkRef::New { digest: digest(number), size_bytes: 100, place: at }
}

fn known(id: i64, number: u8, at: FramePlace) -> ChunkRef {
    ChunkRef::Known { id: ChunkId(id), digest: digest(number), size_bytes: 100, place: at }
}

/// Packs 1 to 4: open, sealed, set aside, doomed.
fn chunks() -> Chunks {
    let mut chunks = Chunks::new(EPOCH);
    let states = [PackState::Open, PackState::Sealed, PackState::SetAside, PackState::Doomed];
    for (pack, state) in (1..).zip(states) {
        chunks.add_pack(PackId(pack), state);
    }
    chunks
}

fn kind<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[test]
fn a_row_in_doubt_is_offered_to_nobody() {
    for (is_doubted, expected) in [(false, true), (true, false)] {
        assert_eq!(ChunkRow { is_doubted, ..row(1, 1, place(1, 64)) }.is_offered(), expected);
    }
}

#[test]
fn a_new_chunk_gets_a_row_once_and_is_counted_once() {
    let mut chunks = chunks();
    let refs = [new(1, place(1, 64)), new(1, place(1, 164)), new(2, place(1, 264))];
    assert_eq!(chunks.refer(&refs).unwrap(), [RowRef::New(0), RowRef::New(0), RowRef::New(1)]);
    assert_eq!(chunks.refer(&[new(2, place(2, 64))]).unwrap(), [RowRef::New(1)], "the next content sees it");
    let referrals = chunks.into_referrals();
    assert_eq!(referrals.new.len(), 2);
    assert_eq!(referrals.totals, TotalsChange { chunks: 2, plain_bytes: 200, frame_bytes: 120 });
    let change = PackChange { live_chunks: 2, live_bytes: 120, end: 324 };
    assert_eq!(referrals.packs, BTreeMap::from([(PackId(1), change)]));
    assert!(referrals.raised.is_empty() && referrals.mended.is_empty());
}

/// (what stands, the reference, what comes of it)
#[test]
fn what_a_reference_comes_to() {
    let standing = row(5, 1, place(2, 64));
    let doubted = ChunkRow { is_doubted: true, ..standing.clone() };
    let longer = ChunkRow { chunk: StoredChunk { size_bytes: 101, ..standing.chunk }, ..standing.clone() };
    let same = place(2, 64);
    let cases = [
        ("a row that stands", Some(&standing), known(5, 1, same), Ok(RowRef::Standing(ChunkId(5)))),
        ("a doubted row", Some(&doubted), known(5, 1, same), Err(ErrorKind::Unavailable)),
        ("another length", Some(&longer), known(5, 1, same), Err(ErrorKind::Internal)),
        ("made by another", Some(&standing), new(1, place(1, 64)), Ok(RowRef::Standing(ChunkId(5)))),
        ("made by another, longer", Some(&longer), new(1, place(1, 64)), Err(ErrorKind::Internal)),
        ("the doubted frame itself", Some(&doubted), new(1, same), Err(ErrorKind::Unavailable)),
        (
            "a sound frame for a doubted row",
            Some(&doubted),
            new(1, place(1, 64)),
            Ok(RowRef::Standing(ChunkId(5))),
        ),
        ("collected, frame in an open pack", None, known(5, 1, place(1, 64)), Ok(RowRef::New(0))),
        ("collected, frame in a sealed pack", None, known(5, 1, same), Ok(RowRef::New(0))),
        ("collected, pack set aside", None, known(5, 1, place(3, 64)), Err(ErrorKind::Unavailable)),
        ("collected, pack doomed", None, known(5, 1, place(4, 64)), Err(ErrorKind::Unavailable)),
        ("collected, pack gone", None, known(5, 1, place(9, 64)), Err(ErrorKind::Unavailable)),
        (
            "made anew under another number",
            Some(&standing),
            known(6, 1, place(3, 64)),
            Ok(RowRef::Standing(ChunkId(5))),
        ),
        ("new in a pack that was set aside", None, new(1, place(3, 64)), Ok(RowRef::New(0))),
        ("new in a doomed pack", None, new(1, place(4, 64)), Err(ErrorKind::Unavailable)),
        ("new in a pack that is gone", None, new(1, place(9, 64)), Err(ErrorKind::Unavailable)),
        (
            "in a doomed pack, stored elsewhere",
            Some(&standing),
            new(1, place(4, 64)),
            Ok(RowRef::Standing(ChunkId(5))),
        ),
    ];
    for (what, row, chunk, expected) in cases {
        let mut chunks = chunks();
        row.into_iter().for_each(|row| chunks.add_row(row.clone()));
        let found = chunks.refer(&[chunk]).map_err(|error| error.kind());
        assert_eq!(found, expected.map(|row| vec![row]), "{what}");
    }
}

#[test]
fn a_row_of_an_earlier_epoch_is_raised_once() {
    for (epoch, raised) in [(EPOCH - 1, vec![ChunkId(5)]), (EPOCH, vec![]), (EPOCH + 1, vec![])] {
        let mut chunks = chunks();
        chunks.add_row(ChunkRow { epoch, ..row(5, 1, place(2, 64)) });
        chunks.refer(&[known(5, 1, place(2, 64)), new(1, place(1, 64))]).unwrap();
        assert_eq!(chunks.into_referrals().raised, raised, "{epoch}");
    }
}

#[test]
fn a_mended_row_keeps_its_number_and_moves_its_bytes() {
    let mut chunks = chunks();
    let old = row(5, 1, place(3, 64));
    let old = ChunkRow { chunk: StoredChunk { size_bytes: 1, ..old.chunk }, is_doubted: true, epoch: 1 };
    chunks.add_row(old);
    let sound = place(1, 640);
    assert_eq!(chunks.refer(&[new(1, sound)]).unwrap(), [RowRef::Standing(ChunkId(5))]);
    assert_eq!(
        chunks.refer(&[known(5, 1, sound)]).unwrap(),
        [RowRef::Standing(ChunkId(5))],
        "it is sound now"
    );
    let referrals = chunks.into_referrals();
    assert_eq!(referrals.mended, [Mend { row: ChunkId(5), size_bytes: 100, place: sound }]);
    assert_eq!(referrals.totals, TotalsChange { chunks: 0, plain_bytes: 99, frame_bytes: 0 });
    let from = PackChange { live_chunks: -1, live_bytes: -60, end: 0 };
    let to = PackChange { live_chunks: 1, live_bytes: 60, end: 700 };
    assert_eq!(referrals.packs, BTreeMap::from([(PackId(3), from), (PackId(1), to)]));
    assert!(referrals.raised.is_empty() && referrals.new.is_empty());
}

#[test]
fn a_row_that_was_not_loaded_is_no_row() {
    assert_eq!(kind(chunks().refer(&[known(5, 1, place(4, 64))])), ErrorKind::Unavailable);
}
