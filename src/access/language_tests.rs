//! The language as its definition has it, where the `cel` crate's interpreter is no measure:
//! numbers of different types, errors that are absorbed, times, what is out of range.

use crate::tests::{BEFORE, Case, alice, compiled};
use crate::{Fault, NoDocuments, Operation, Verdict};

fn explained(expression: &str) -> Result<bool, Fault> {
    let auth = alice();
    let case = Case {
        auth: Some(&auth),
        before: Some(BEFORE),
        after: None,
        lookup: &NoDocuments,
        operation: Operation::Read,
    };
    let verdict = case.ask(|request| compiled(expression).explain(request))?;
    Ok(verdict == Verdict::Allow)
}

#[test]
fn what_is_true() {
    for expression in [
        // Numbers are one line, exactly.
        "1 == 1.0 && 1u == 1 && 1.0 == 1u && 1 != 1.5 && -1 < 0u && 2u > 1.5 && 1 <= 1.0",
        "9007199254740993 != 9007199254740992.0 && 9007199254740993 > 9007199254740992.0",
        "18446744073709551615u > 9223372036854775807 && 1e300 > 18446744073709551615u",
        "-1e300 < -9223372036854775808 && -1.5 < -1 && 1.5 > 1 && 1 in [1.0] && 1u in {1: 'a'}",
        "0.0 == -0.0 && !(0.0 / 0.0 == 0.0 / 0.0) && 1.0 / 0.0 > 1e300",
        "7 / 2 == 3 && -7 / 2 == -3 && -7 % 3 == -1 && 7u % 4u == 3u && 0x1F == 31",
        // Different types are unequal.
        "'1' != 1 && true != 1 && null != 0 && [] != {} && b'a' != 'a' && null == null",
        "[1, 'a', [2.0]] == [1u, 'a', [2]] && {'a': 1, 'b': 2} == {'b': 2.0, 'a': 1u}",
        // Order.
        "'a' < 'b' && 'Z' < 'a' && '' < 'a' && false < true && b'a' < b'b'",
        // Absorbed errors, from either side and in loops.
        "true || 1/0 == 1",
        "1/0 == 1 || true",
        "!(false && 1/0 == 1) && !(1/0 == 1 && false)",
        "1 || true",
        "[0, 1].exists(x, 1/x == 1)",
        "!([0, 2].all(x, 1/x == 1))",
        "true ? true : 1/0 == 1",
        // Macros.
        "[].all(x, false) && ![].exists(x, true) && [1, 2].exists_one(x, x > 1)",
        "[1, 2, 3].filter(x, x > 1).map(y, y * y) == [4, 9] && [1, 2].map(x, x > 1, x * 3) == [6]",
        "{'a': 1, 'b': 2}.all(k, k in ['a', 'b']) && [[1, 2], [3]].exists(l, l.all(x, x > 2))",
        "[1].map(x, [2].map(y, x + y)) == [[3]] && [1, 2].existsOne(x, x == 2)",
        // Strings are characters, not bytes.
        "size('é😀') == 2 && 'aé'.size() == 2 && 'a\\u00e9' == 'aé'",
        "size(b'\\xc3\\xa9') == 2",
        "'abc'.contains('bc') && 'abc'.startsWith('') && r'\\d' == '\\\\d' && '''a'b''' == 'a\\'b'",
        "'abc'.matches('b') && !'abc'.matches('^b') && matches('a1', '^[a-z]' + '[0-9]$')",
        "'é'.matches('^.$') && 'A'.matches('(?i)a')",
        // Conversions.
        "int('-5') == -5 && int(2.9) == 2 && int(-2.9) == -2 && int(5u) == 5 && uint('7') == 7u",
        "double('1.5') == 1.5 && double(3) == 3.0 && string(5) == '5' && string(1.5) == '1.5'",
        "string(true) == 'true' && bool('true') && string(b'ab') == 'ab' && bytes('é') == b'é'",
        "int(timestamp('1970-01-01T00:01:00Z')) == 60 \
         && timestamp(60) == timestamp('1970-01-01T00:01:00Z')",
        "string(timestamp('2026-01-31T13:00:00+01:00')) == '2026-01-31T12:00:00Z'",
        "string(duration('1h1.5s')) == '3601.5s' && dyn(1) == 1",
        // Times.
        "timestamp('2026-02-01T00:00:00Z') - timestamp('2026-01-31T00:00:00Z') == duration('24h')",
        "now + duration('1h') > now && now - duration('1h') < now \
         && duration('1m') < duration('61s')",
        "duration('1h') - duration('30m') == duration('1800s')",
        "timestamp('2026-02-01T13:14:15.167Z').getHours() == 13 && now.getFullYear() == 2026",
        "now.getMonth() == 1 && now.getDate() == 1 && now.getDayOfMonth() == 0 \
         && now.getDayOfYear() == 31",
        "now.getDayOfWeek() == 0 && now.getMinutes() == 0 && now.getSeconds() == 0",
        "timestamp('2026-02-01T13:14:15.167Z').getMilliseconds() == 167",
        "duration('3723s').getHours() == 1 && duration('3723s').getMinutes() == 62",
        "duration('1.5s').getMilliseconds() == 500 && duration('90s').getSeconds() == 90",
        // Maps.
        "{'a': 1}.a == 1 && {'a': 1}['a'] == 1 && has({'a': 1}.a) && !has({'a': 1}.b) \
         && {1: 2}[1.0] == 2",
        "'a' in {'a': null} && !('b' in {'a': 1}) && size({'a': 1}) == 1 && {true: 1}[true] == 1",
    ] {
        assert_eq!(explained(expression), Ok(true), "{expression}");
    }
}

#[test]
fn what_has_no_value() {
    for (expression, fault) in [
        ("9223372036854775807 + 1 > 0", Fault::Overflow),
        ("-9223372036854775808 / -1 > 0", Fault::Overflow),
        ("-(-9223372036854775808) > 0", Fault::Overflow),
        ("0u - 1u == 0u", Fault::Overflow),
        ("1 / 0 == 1", Fault::DivisionByZero),
        ("1u % 0u == 1u", Fault::DivisionByZero),
        ("1 + 1.0 == 2.0", Fault::Type),
        ("1.0 % 1.0 == 0.0", Fault::Type),
        ("'a' < 1", Fault::Type),
        ("'a' + 1 == 'a1'", Fault::Type),
        ("[1] < [2]", Fault::Type),
        ("null < 1", Fault::Type),
        ("0.0 / 0.0 < 1.0", Fault::Type),
        ("!1", Fault::Type),
        ("-'a' == 1", Fault::Type),
        ("1 && true", Fault::Type),
        ("true && 1/0 == 1", Fault::DivisionByZero),
        ("false || 1/0 == 1", Fault::DivisionByZero),
        ("1/0 == 1 ? true : true", Fault::DivisionByZero),
        ("1 ? true : true", Fault::Type),
        ("[0, 1].all(x, 1/x == 1)", Fault::DivisionByZero),
        ("[0, 1].exists_one(x, 1/x == 1)", Fault::DivisionByZero),
        ("[1].filter(x, x) == []", Fault::Type),
        ("5.exists(x, true)", Fault::Type),
        ("'ab'.all(x, true)", Fault::Type),
        ("[1][1] == 1", Fault::Position),
        ("[1][-1] == 1", Fault::Position),
        ("[1][0.5] == 1", Fault::Type),
        ("{'a': 1}.b == 1", Fault::Missing),
        ("{'a': 1, 'a': 2} == {}", Fault::Type),
        ("{1.5: 1} == {}", Fault::Type),
        ("has('a'.b)", Fault::Type),
        ("null.a == 1", Fault::Type),
        ("size(1) == 1", Fault::Type),
        ("'a' in 'abc'", Fault::Type),
        ("'a'.contains(1)", Fault::Type),
        ("'a'.matches('(' + '')", Fault::Conversion),
        ("int('a') == 1", Fault::Conversion),
        ("int(1e19) == 1", Fault::Overflow),
        ("uint(-1) == 1u", Fault::Overflow),
        ("bool('yes')", Fault::Conversion),
        ("string(b'\\xff') == ''", Fault::Conversion),
        ("string([]) == ''", Fault::Type),
        ("timestamp('yesterday') == now", Fault::Conversion),
        ("timestamp('0000-01-01T00:00:00Z') == now", Fault::Overflow),
        ("now + duration('80000000h') == now", Fault::Overflow),
        ("duration('90000000h') == duration('1s')", Fault::Overflow),
        ("now + now == now", Fault::Type),
        ("now + 1 == now", Fault::Type),
        ("duration('1h').getMonth() == 1", Fault::Type),
        ("resource.n + resource.price == 6.5", Fault::Type),
        ("resource.owner > 5", Fault::Type),
        ("resource.none == resource.none", Fault::Missing),
        ("has(resource.none.deeper)", Fault::Missing),
        ("has(resource.owner.deeper)", Fault::Type),
        ("resource.members[9] == ''", Fault::Position),
    ] {
        assert_eq!(explained(expression), Err(fault), "{expression}");
    }
}
