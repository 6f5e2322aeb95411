//! The passwords that everybody tries first. A short list: whoever wants more asks for length.

use std::collections::HashSet;
use std::sync::LazyLock;

/// In lower case. Those of four and more characters, for projects may ask for less than eight.
const COMMON: &str = "
    1234 12345 123456 1234567 12345678 123456789 1234567890 12345678910 0123456789 123123
    123123123 123321 123456a 12345678a 123456789a 1234qwer 123qwe 123qweasd 1q2w3e 1q2w3e4r
    1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx 1qaz2wsx3edc 1qazxsw2 zaq12wsx zaq1zaq1 0987654321 987654321
    9876543210 87654321 654321 7654321 11223344 112233 12344321 123654 147258369 147258 159753
    159357 789456123 741852963 10203040 102030 121212 12121212 131313 212121 232323 252525
    01234567 12341234 20202020 69696969 696969 a123456 a1234567 a12345678 a123456789 aa123456
    aa12345678 q1w2e3r4 q1w2e3r4t5 qwer1234 qwert123 qwerty qwerty1 qwerty12 qwerty123 qwerty1234
    qwerty12345 qwertyuiop qwertyui qwerty123456 qweasd qweasdzxc qweqwe qwertz qwertzuiop azerty
    azertyuiop asdf asdfasdf asdfgh asdfghjk asdfghjkl asdf1234 zxcvbn zxcvbnm zxcvbnm1 1234abcd
    abcd1234 abc123 abc12345 abc123456 abcd12345 abcdef abcdefg abcdefgh abcdefghi abcdefg1 abcabc
    aabbccdd password password1 password12 password123 password1234 password12345 password123456
    password! password1! password2 passw0rd passw0rd1 passwort passwort1 p@ssw0rd p@ssword
    p@ssw0rd1 p4ssw0rd pa$$w0rd pass pass123 pass1234 passpass passphrase mypassword yourpassword
    newpassword oldpassword nopassword letmein letmein1 letmein123 welcome welcome1 welcome12
    welcome123 welcome2 changeme changeme1 changeme123 change123 default secret secret123
    topsecret test test1 test123 test1234 test12345 testtest testing testing1 testing123 tester
    admin admin1 admin12 admin123 admin1234 admin12345 admin123456 administrator root toor
    rootroot user user1234 username guest demo demo1234 login master master123 iloveyou iloveyou1
    iloveyou2 ilovegod iloveme loveyou loveme lovely lovelove monkey monkey123 dragon dragon123
    sunshine sunshine1 princess princess1 football football1 baseball baseball1 basketball
    superman superman1 batman batman123 spiderman starwars pokemon pokemon1 minecraft liverpool
    liverpool1 chelsea arsenal barcelona manchester jordan23 michael michael1 jennifer jessica
    charlie ashley nicole daniel jordan thomas andrew joshua matthew anthony elizabeth michelle
    shadow shadow123 killer hunter hunter2 ranger harley tigger ginger pepper cookie cheese
    chocolate butterfly flower summer summer1 winter winter123 samsung samsung1 internet computer
    computer1 whatever trustno1 freedom mustang maverick corvette mercedes ferrari yellow purple
    orange banana peanut snoopy diamond forever fuckyou fuckyou1 fuckoff google facebook linkedin
    twitter youtube hello hello123 hello1234 helloworld goodluck goodbye january february
    september november december monday friday hellokitty blink182 slipknot metallica nirvana
    startrek correcthorsebatterystaple access14 solarwinds123 raspberry server123 company123
    temp1234 temp123
";

static LIST: LazyLock<HashSet<&str>> = LazyLock::new(|| COMMON.split_whitespace().collect());

/// Whether it is one of them, in whatever case, or one character over and over.
pub(super) fn is_common(password: &[char]) -> bool {
    if password.len() >= 2 && password.iter().all(|c| *c == password[0]) {
        return true;
    }
    let lower: String = password.iter().flat_map(|c| c.to_lowercase()).collect();
    LIST.contains(lower.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_lower_case_without_doubles() {
        let all: Vec<&str> = COMMON.split_whitespace().collect();
        assert_eq!(all.len(), LIST.len(), "something is in it twice");
        assert!(all.len() >= 200);
        for one in all {
            assert_eq!(one, one.to_lowercase());
            assert!(one.chars().count() >= 4, "{one}");
        }
    }

    #[test]
    fn repetition_is_common() {
        let is = |text: &str| is_common(&text.chars().collect::<Vec<_>>());
        assert!(is("zzzzzzzzzzzz") && is("QWERTY"));
        assert!(!is("") && !is("z") && !is("zzzzzzzzzzzy"));
    }
}
