use usp_model::PackPart;

use super::*;

const PACK: PackId = PackId(3);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

#[test]
fn what_each_state_allows() {
    //            takes rows, sound, synced, strands frames, set aside
    let table = [
        (PackState::Open, true, true, false, false, PackState::SetAside),
        (PackState::Sealed, true, true, true, false, PackState::SetAside),
        (PackState::SetAside, true, false, false, true, PackState::SetAside),
        (PackState::Doomed, false, false, true, false, PackState::Doomed),
    ];
    assert_eq!(table.len(), PackState::ALL.len());
    for (state, takes, sound, synced, strands, aside) in table {
        assert_eq!((takes_rows(state), is_sound(state), is_synced(state)), (takes, sound, synced), "{state}");
        assert_eq!(strands_frames(state), strands, "{state}");
        assert_eq!(set_aside(state), aside, "{state}");
    }
}

#[test]
fn damage_sets_a_pack_aside_and_makes_what_begins_in_it_doubted() {
    let damage = |offset, size_bytes| PackDamage { pack: PACK, offset, size_bytes, part: PackPart::Frame };
    assert_eq!(scrubbed(&[]), Scrubbed::default());
    assert!(!Scrubbed::default().is_set_aside);
    let ranges = [(64, 100), (200, 200), (u64::MAX, u64::MAX)];
    let doubted = ranges.map(|(start, end)| ByteRange::new(start, end).unwrap()).to_vec();
    let found = scrubbed(&[damage(64, 36), damage(200, 0), damage(u64::MAX, 2)]);
    assert_eq!(found, Scrubbed { is_set_aside: true, doubted });
}

#[test]
fn a_pack_is_sealed_at_its_length_and_never_below() {
    let table = [
        (Some((PackState::Open, 100)), 100, true),
        (Some((PackState::Open, 99)), 100, true),
        (Some((PackState::Open, 101)), 100, false),
        (Some((PackState::Sealed, 100)), 100, true),
        (Some((PackState::SetAside, 100)), 100, false),
        (Some((PackState::Doomed, 100)), 100, false),
        (None, 100, false),
    ];
    for (standing, size_bytes, may) in table {
        let record =
            standing.map(|(state, committed_bytes)| PackRecord { pack: PACK, state, committed_bytes });
        match seal(PACK, record.as_ref(), size_bytes) {
            Ok(sealed) => {
                assert!(may, "{standing:?}");
                let expected =
                    PackRecord { pack: PACK, state: PackState::Sealed, committed_bytes: size_bytes };
                assert_eq!(sealed, expected);
            }
            Err(error) => assert_eq!((may, error.kind()), (false, ErrorKind::Conflict), "{standing:?}"),
        }
    }
}

#[test]
fn only_a_sealed_pack_without_rows_is_doomed() {
    for state in PackState::ALL {
        assert_eq!(may_be_doomed(*state, 0), *state == PackState::Sealed, "{state}");
        assert!(!may_be_doomed(*state, 1), "{state}");
    }
}

#[test]
fn a_doomed_pack_waits_two_cycles_and_the_grace() {
    //           doomed in, at; rows; epoch now, doomed before
    let table = [
        (5, 100, 0, 7, 100, true),
        (5, 100, 0, 6, 100, false),
        (5, 100, 0, 8, 100, true),
        (5, 101, 0, 7, 100, false),
        (5, 100, 1, 7, 100, false),
    ];
    for (epoch, doomed_at, rows, now, before, expected) in table {
        let doom = Doom { epoch, at: at(doomed_at) };
        assert_eq!(may_be_erased(doom, rows, now, at(before)), expected, "{epoch} {doomed_at} {rows} {now}");
    }
}

#[test]
fn a_row_is_forgotten_only_of_a_doomed_pack_without_chunks() {
    for state in PackState::ALL {
        assert_eq!(forget(PACK, Some((*state, 0))).is_ok(), *state == PackState::Doomed, "{state}");
        assert!(forget(PACK, Some((*state, 1))).is_err(), "{state}");
    }
    assert_eq!(forget(PACK, None).unwrap_err().kind(), ErrorKind::Conflict);
}
