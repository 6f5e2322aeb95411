//! What messages say if the project says nothing: short, and the same in text and HTML.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use domain::sign_in::Template;

use crate::template::{Kind, LANGUAGE};

/// The languages that there are texts in.
pub(crate) const LANGUAGES: [&str; 4] = ["en", "de", "fr", "es"];

/// A text before it is laid out. `action` names what the link does; a text with a code has none.
struct Words {
    subject: &'static str,
    before: &'static str,
    action: &'static str,
    after: &'static [&'static str],
}

type Key = (Kind, &'static str);

static ALL: LazyLock<BTreeMap<Key, Template>> = LazyLock::new(|| {
    let keys = Kind::ALL.into_iter().flat_map(|kind| LANGUAGES.map(|language| (kind, language)));
    keys.map(|(kind, language)| ((kind, language), laid_out(kind, language))).collect()
});

static EMPTY: Template = Template { subject: String::new(), text: String::new(), html: None };

/// Our text in just this language.
pub(crate) fn built_in(kind: Kind, language: &str) -> Option<&'static Template> {
    let known = LANGUAGES.into_iter().find(|known| known.eq_ignore_ascii_case(language))?;
    ALL.get(&(kind, known))
}

/// Our text in English.
pub(crate) fn fallback(kind: Kind) -> &'static Template {
    ALL.get(&(kind, LANGUAGE)).unwrap_or(&EMPTY)
}

fn laid_out(kind: Kind, language: &str) -> Template {
    let words = match language {
        "de" => german(kind),
        "fr" => french(kind),
        "es" => spanish(kind),
        _ => english(kind),
    };
    let is_code = matches!(kind, Kind::EmailCode | Kind::PhoneCode);
    let subject = words.subject.to_owned();
    if kind.is_sms() {
        return Template { subject, text: words.before.to_owned(), html: None };
    }
    let mut text = vec![words.before.to_owned()];
    let mut html = vec![format!("<p>{}</p>", words.before)];
    if is_code {
        text.push("{{ code }}".to_owned());
        html.push("<p style=\"font-size:28px;letter-spacing:4px\">{{ code }}</p>".to_owned());
    } else if !words.action.is_empty() {
        text.push(format!("{}:\n{{{{ link }}}}", words.action));
        html.push(format!("<p><a href=\"{{{{ link }}}}\">{}</a></p>", words.action));
    }
    text.extend(words.after.iter().map(|line| (*line).to_owned()));
    html.extend(words.after.iter().map(|line| format!("<p>{line}</p>")));
    let head = "<meta charset=\"utf-8\">";
    let style = "font-family:sans-serif;font-size:16px;line-height:1.5;max-width:560px";
    let body = html.join("\n");
    let html = format!(
        "<!doctype html>\n<html lang=\"{language}\"><head>{head}</head>\n\
         <body style=\"{style}\">\n{body}\n</body></html>\n"
    );
    Template { subject, text: text.join("\n\n") + "\n", html: Some(html) }
}

/// The texts go into HTML as they are: none has characters that mean something there.
const fn words(
    subject: &'static str,
    before: &'static str,
    action: &'static str,
    after: &'static [&'static str],
) -> Words {
    Words { subject, before, action, after }
}

fn english(kind: Kind) -> Words {
    const IGNORE: &str = "If this was not you, you can ignore this message.";
    const LINK: &str = "The link is good for {{ minutes }} minutes and works once.";
    match kind {
        Kind::VerifyEmail => words(
            "Confirm your address for {{ project }}",
            "Please confirm that {{ email }} is your address for {{ project }}.",
            "Confirm address",
            &[LINK, IGNORE],
        ),
        Kind::ResetPassword => words(
            "A new password for {{ project }}",
            "Somebody asked to set a new password for {{ email }} at {{ project }}.",
            "Set a new password",
            &[LINK, "If this was not you, ignore this message: your password stays as it is."],
        ),
        Kind::MagicLink => words(
            "Sign in to {{ project }}",
            "With this link you sign in to {{ project }} as {{ email }}.",
            "Sign in",
            &[LINK, IGNORE],
        ),
        Kind::EmailCode => words(
            "Your code for {{ project }}",
            "Your code for {{ project }} is:",
            "",
            &["It is good for {{ minutes }} minutes. Never tell it to anybody.", IGNORE],
        ),
        Kind::EmailChanged => words(
            "Your address at {{ project }} was changed",
            "The address of your account at {{ project }} is no longer {{ email }}.",
            "",
            &["If this was not you, please get in touch with {{ project }} at once."],
        ),
        Kind::PasswordChanged => words(
            "Your password at {{ project }} was changed",
            "The password for {{ email }} at {{ project }} was changed.",
            "",
            &["If this was not you, set a new password now and get in touch with {{ project }}."],
        ),
        Kind::Invite => words(
            "An invitation to {{ project }}",
            "You are invited to join {{ project }} as {{ email }}.",
            "Accept the invitation",
            &[LINK, "If you expected no invitation, you can ignore this message."],
        ),
        Kind::PhoneCode => words(
            "",
            "{{ code }} is your code for {{ project }}. It is good for {{ minutes }} minutes.",
            "",
            &[],
        ),
    }
}

fn german(kind: Kind) -> Words {
    const IGNORE: &str = "Falls Sie das nicht waren, können Sie diese Nachricht übergehen.";
    const LINK: &str = "Der Link gilt {{ minutes }} Minuten lang und nur einmal.";
    match kind {
        Kind::VerifyEmail => words(
            "Bestätigen Sie Ihre Adresse für {{ project }}",
            "Bitte bestätigen Sie, dass {{ email }} Ihre Adresse für {{ project }} ist.",
            "Adresse bestätigen",
            &[LINK, IGNORE],
        ),
        Kind::ResetPassword => words(
            "Ein neues Passwort für {{ project }}",
            "Für {{ email }} bei {{ project }} wurde ein neues Passwort angefordert.",
            "Neues Passwort setzen",
            &[LINK, "Falls Sie das nicht waren, tun Sie nichts: Ihr Passwort bleibt, wie es ist."],
        ),
        Kind::MagicLink => words(
            "Anmelden bei {{ project }}",
            "Mit diesem Link melden Sie sich bei {{ project }} als {{ email }} an.",
            "Anmelden",
            &[LINK, IGNORE],
        ),
        Kind::EmailCode => words(
            "Ihr Code für {{ project }}",
            "Ihr Code für {{ project }} lautet:",
            "",
            &["Er gilt {{ minutes }} Minuten lang. Geben Sie ihn niemandem weiter.", IGNORE],
        ),
        Kind::EmailChanged => words(
            "Ihre Adresse bei {{ project }} wurde geändert",
            "Die Adresse Ihres Kontos bei {{ project }} ist nicht mehr {{ email }}.",
            "",
            &["Falls Sie das nicht waren, wenden Sie sich bitte gleich an {{ project }}."],
        ),
        Kind::PasswordChanged => words(
            "Ihr Passwort bei {{ project }} wurde geändert",
            "Das Passwort für {{ email }} bei {{ project }} wurde geändert.",
            "",
            &["Falls Sie das nicht waren, setzen Sie gleich ein neues und wenden Sie sich an \
               {{ project }}."],
        ),
        Kind::Invite => words(
            "Eine Einladung zu {{ project }}",
            "Sie sind eingeladen, als {{ email }} bei {{ project }} mitzumachen.",
            "Einladung annehmen",
            &[LINK, "Falls Sie keine Einladung erwarten, können Sie diese Nachricht übergehen."],
        ),
        Kind::PhoneCode => words(
            "",
            "{{ code }} ist Ihr Code für {{ project }}. Er gilt {{ minutes }} Minuten lang.",
            "",
            &[],
        ),
    }
}

fn french(kind: Kind) -> Words {
    const IGNORE: &str = "Si ce n’était pas vous, vous pouvez ignorer ce message.";
    const LINK: &str = "Le lien est valable {{ minutes }} minutes et ne sert qu’une fois.";
    match kind {
        Kind::VerifyEmail => words(
            "Confirmez votre adresse pour {{ project }}",
            "Merci de confirmer que {{ email }} est bien votre adresse pour {{ project }}.",
            "Confirmer l’adresse",
            &[LINK, IGNORE],
        ),
        Kind::ResetPassword => words(
            "Un nouveau mot de passe pour {{ project }}",
            "Un nouveau mot de passe a été demandé pour {{ email }} chez {{ project }}.",
            "Choisir un nouveau mot de passe",
            &[LINK, "Si ce n’était pas vous, ne faites rien : votre mot de passe reste le même."],
        ),
        Kind::MagicLink => words(
            "Connexion à {{ project }}",
            "Ce lien vous connecte à {{ project }} en tant que {{ email }}.",
            "Se connecter",
            &[LINK, IGNORE],
        ),
        Kind::EmailCode => words(
            "Votre code pour {{ project }}",
            "Votre code pour {{ project }} est :",
            "",
            &["Il est valable {{ minutes }} minutes. Ne le donnez à personne.", IGNORE],
        ),
        Kind::EmailChanged => words(
            "Votre adresse chez {{ project }} a changé",
            "L’adresse de votre compte chez {{ project }} n’est plus {{ email }}.",
            "",
            &["Si ce n’était pas vous, écrivez sans attendre à {{ project }}."],
        ),
        Kind::PasswordChanged => words(
            "Votre mot de passe chez {{ project }} a changé",
            "Le mot de passe de {{ email }} chez {{ project }} a été changé.",
            "",
            &["Si ce n’était pas vous, choisissez-en un nouveau et écrivez à {{ project }}."],
        ),
        Kind::Invite => words(
            "Une invitation de {{ project }}",
            "Vous êtes invité à rejoindre {{ project }} en tant que {{ email }}.",
            "Accepter l’invitation",
            &[LINK, "Si vous n’attendiez aucune invitation, vous pouvez ignorer ce message."],
        ),
        Kind::PhoneCode => words(
            "",
            "{{ code }} est votre code pour {{ project }}. Il est valable {{ minutes }} minutes.",
            "",
            &[],
        ),
    }
}

fn spanish(kind: Kind) -> Words {
    const IGNORE: &str = "Si no ha sido usted, puede ignorar este mensaje.";
    const LINK: &str = "El enlace vale durante {{ minutes }} minutos y sirve una sola vez.";
    match kind {
        Kind::VerifyEmail => words(
            "Confirme su dirección para {{ project }}",
            "Por favor, confirme que {{ email }} es su dirección para {{ project }}.",
            "Confirmar la dirección",
            &[LINK, IGNORE],
        ),
        Kind::ResetPassword => words(
            "Una contraseña nueva para {{ project }}",
            "Se ha pedido una contraseña nueva para {{ email }} en {{ project }}.",
            "Elegir una contraseña nueva",
            &[LINK, "Si no ha sido usted, no haga nada: su contraseña sigue siendo la misma."],
        ),
        Kind::MagicLink => words(
            "Entrar en {{ project }}",
            "Con este enlace entra en {{ project }} como {{ email }}.",
            "Entrar",
            &[LINK, IGNORE],
        ),
        Kind::EmailCode => words(
            "Su código para {{ project }}",
            "Su código para {{ project }} es:",
            "",
            &["Vale durante {{ minutes }} minutos. No se lo dé a nadie.", IGNORE],
        ),
        Kind::EmailChanged => words(
            "Su dirección en {{ project }} ha cambiado",
            "La dirección de su cuenta en {{ project }} ya no es {{ email }}.",
            "",
            &["Si no ha sido usted, escriba cuanto antes a {{ project }}."],
        ),
        Kind::PasswordChanged => words(
            "Su contraseña en {{ project }} ha cambiado",
            "La contraseña de {{ email }} en {{ project }} ha cambiado.",
            "",
            &["Si no ha sido usted, elija una nueva ahora y escriba a {{ project }}."],
        ),
        Kind::Invite => words(
            "Una invitación a {{ project }}",
            "Le invitan a unirse a {{ project }} como {{ email }}.",
            "Aceptar la invitación",
            &[LINK, "Si no esperaba ninguna invitación, puede ignorar este mensaje."],
        ),
        Kind::PhoneCode => words(
            "",
            "{{ code }} es su código para {{ project }}. Vale durante {{ minutes }} minutos.",
            "",
            &[],
        ),
    }
}
