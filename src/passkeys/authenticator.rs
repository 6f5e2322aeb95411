//! An authenticator for tests, with a browser around it. Everything it says can be changed before
//! it answers, to see that a lie is found.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base64url;

pub(crate) const UP: u8 = 0x01;
pub(crate) const UV: u8 = 0x04;
pub(crate) const BE: u8 = 0x08;
pub(crate) const BS: u8 = 0x10;
pub(crate) const AT: u8 = 0x40;
pub(crate) const ED: u8 = 0x80;

/// The key of one of the algorithms.
pub(crate) enum PrivateKey {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

impl PrivateKey {
    /// One of each algorithm. The RSA key is always the same: ring makes none.
    pub(crate) fn all() -> [Self; 3] {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let p256 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let rsa = base64url::decode(RSA_KEY).unwrap();
        [
            Self::Es256(EcdsaKeyPair::from_pkcs8(algorithm, p256.as_ref(), &random).unwrap()),
            Self::Ed25519(Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap()),
            Self::Rs256(RsaKeyPair::from_der(&rsa).unwrap()),
        ]
    }

    pub(crate) fn es256() -> Self {
        let [key, ..] = Self::all();
        key
    }

    /// The public key as COSE.
    pub(crate) fn cose(&self) -> Vec<u8> {
        match self {
            Self::Es256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21];
                [&head, &bytes(x)[..], &[0x22], &bytes(y)].concat()
            }
            Self::Ed25519(key) => {
                let head = [0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21];
                [&head, &bytes(key.public_key().as_ref())[..]].concat()
            }
            Self::Rs256(key) => {
                let RsaPublicKeyComponents::<Vec<u8>> { n, e } = key.public().into();
                let head = [0xa4, 1, 3, 3, 0x39, 1, 0, 0x20];
                [&head, &bytes(&n)[..], &[0x21], &bytes(&e)].concat()
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// A byte string in CBOR, of 24 to 65,535 bytes or fewer than 24.
pub(crate) fn bytes(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match content.len() {
        0..24 => vec![0x40 | length[1]],
        24..256 => vec![0x58, length[1]],
        _ => vec![0x59, length[0], length[1]],
    };
    [head, content.to_vec()].concat()
}

/// What the browser around the authenticator says.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) challenge: String,
    pub(crate) origin: String,
    pub(crate) cross_origin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) top_origin: Option<String>,
    pub(crate) news: &'static str,
}

/// One credential and what its authenticator says.
pub(crate) struct Authenticator {
    pub(crate) key: PrivateKey,
    pub(crate) id: Vec<u8>,
    /// COSE; not the key's own where a test lies.
    pub(crate) cose: Vec<u8>,
    pub(crate) user_handle: Option<Vec<u8>>,
    pub(crate) flags: u8,
    pub(crate) count: u32,
    pub(crate) rp_id: String,
    /// Behind the authenticator data: extensions.
    pub(crate) behind: Vec<u8>,
    /// The attestation object up to `authData`'s value.
    pub(crate) statement: Vec<u8>,
    pub(crate) page: Page,
}

impl Authenticator {
    pub(crate) fn new(key: PrivateKey) -> Self {
        Self {
            cose: key.cose(),
            key,
            id: vec![7; 16],
            user_handle: None,
            flags: UP | UV | BE | BS,
            count: 1,
            rp_id: "app.example".into(),
            behind: Vec::new(),
            statement: b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData".to_vec(),
            page: Page {
                kind: String::new(),
                challenge: String::new(),
                origin: "https://app.example".into(),
                cross_origin: Some(false),
                top_origin: None,
                news: "browsers add to it",
            },
        }
    }

    fn data(&self, attested: &[u8]) -> Vec<u8> {
        let count = self.count.to_be_bytes();
        let hash = Sha256::digest(&self.rp_id);
        [&hash[..], &[self.flags], &count, attested, &self.behind].concat()
    }

    fn envelope(&self, response: &Value) -> Value {
        let id = base64url::encode(&self.id);
        json!({
            "id": id,
            "rawId": id,
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        })
    }

    /// Makes the credential: `options` are creation options as JSON.
    pub(crate) fn create(&mut self, options: &Value) -> Value {
        let handle = options["user"]["id"].as_str().unwrap();
        self.user_handle = base64url::decode(handle);
        self.answer_create(options["challenge"].as_str().unwrap(), "webauthn.create")
    }

    pub(crate) fn answer_create(&mut self, challenge: &str, kind: &str) -> Value {
        self.page.kind = kind.into();
        self.page.challenge = challenge.into();
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        self.flags |= AT;
        let data = self.data(&[&[9; 16], &length[..], &self.id, &self.cose].concat());
        self.flags &= !AT;
        let object = [&self.statement[..], &bytes(&data)].concat();
        self.envelope(&json!({
            "clientDataJSON": base64url::encode(&serde_json::to_vec(&self.page).unwrap()),
            "attestationObject": base64url::encode(&object),
            "transports": ["internal", "hybrid"],
        }))
    }

    /// Signs in: `options` are request options as JSON.
    pub(crate) fn get(&mut self, options: &Value) -> Value {
        self.answer_get(options["challenge"].as_str().unwrap(), "webauthn.get")
    }

    pub(crate) fn answer_get(&mut self, challenge: &str, kind: &str) -> Value {
        self.page.kind = kind.into();
        self.page.challenge = challenge.into();
        let data = self.data(&[]);
        let page = serde_json::to_vec(&self.page).unwrap();
        let signature = self.key.sign(&[&data[..], &Sha256::digest(&page)].concat());
        self.envelope(&json!({
            "clientDataJSON": base64url::encode(&page),
            "authenticatorData": base64url::encode(&data),
            "signature": base64url::encode(&signature),
            "userHandle": self.user_handle.as_deref().map(base64url::encode),
        }))
    }
}

/// An RSA key of 2048 bits (PKCS #1) that is used nowhere else.
const RSA_KEY: &str = "\
    MIIEowIBAAKCAQEAtxEcX3kaSRBkicCcUROZWRwjJUdAzE4L_RmimbmiiQtBE70ANMpUUm8u-xWGiQW-GrCmL6Ds\
    4kz_RTKCTsmN_q67u2aQbiZjJzhQPSk86xL36EA3Yy8ps7PoOGL4yg7WGEP6krXbWllYx46eGs-\
    3GOE02fxLsTKv5PJzzDq1zxtCpSGRIpE8RGWL4xy7sJaKYzIjbTP6-AvD-\
    Zsr1W59B8tdel6p6kK3s36VuE0rm6dR-AbWKSjtfRxPu8i5308HSKRRgE8lE87fB9lpF9IQ9qB3N1yB4iPBhg5F1\
    OHMB1UrYeIXjpJOAFXXMh4L7o14mRg6UEJWyROnqwR7FA1ltQIDAQABAoIBAA4x_PhoQcIIS-DPTIUQQdQCQGAWd\
    4SqyUzdzS53Zw49DwBH_Q6a4San6XAzJJoBFdMoVH1H-\
    2ZhixUjYVhY_QeSfAsq3P3gQHsHklfpF94F5q7zNSLzQsa6UhehO7fLUQ2o-\
    R1MOGSinfrnaQTHi46Z0_PSl6SiELfuQaLEq1lnmv5I2aL3opxLTZ_JWY3TGtqvZIaOOxHd6cDlql2caAN8uzzwJ\
    C3k6_UcgYVT6FW-eB-ImOHr-h-PjxWUIyA62OLJuby-olajjLYLZNROm4X9E6kHXOv0604fxw9xsC5W7SD8BMgof\
    _2Y_0pw9qgb02y-OwwLLpuvlDje5ENMvBECgYEA3AD1R3weyaHC3RYVNCSUkNk2low1vWu-\
    0to_ZfVpu7ZiFzcccnUwMKN11WpusEq0DkAn6dA5nQCisnZKt3hsHrtvhDdpGm-\
    wtKytMqtisSDrnxt8W5My3CRBByozFPiIDbLKKeu9KGqWp4HKdTCfHbZe2pj2DQT0EBJ7BblWvPkCgYEA1QUE-\
    TwfzYZSBNid-cGXQxKY1DAjDwEqCtlIJZdnxTXvkpkp1Dc7OMCRkqWrN2cB_2aHRihYp95611sb5ItXwcoJmGALU\
    tuAwgYQ_bDMPeTFpTL4uhxfOvwSlfb42mc65OpNbjGiDNZWVdN-G_b5TTavEwOL7hKQwcvY2hZcyZ0CgYEAwQmWL\
    kMaQJFPCe52bGoscWwmGbKs9Ke1qA0X076iJ7LAHt6cd1GcFxFWMwxQUx85HcftPZsW8ku8dhqVNKbVN6H_F2QHN\
    MsLoXxh_DOlRQY9uD3FwBRIbCDjbgX5DE2GE37tJBtUvkHILvITUwB2nPuH_wZ33rSZ8gBFMaCOGwECgYAG0BJIp\
    lOeDx2waf0jb72Wt5GLt75nTHI7xpc4HI-FDySKW7uqvdl3BzGgrwu6yeCWeoD5DXFIbSUgnhlWRd6YpA2Kggfar\
    op_qhIBCxZ9JEPt9KNf0Gh7SnSNt0heM87-Yz_2tj-\
    oiXJZbFosKsnuXkFbKlHfW1il2g8lanGtQQKBgGKDuaF3DVmId3iuBVi-SGrl4S4dJzAu8nuNuZxvNMqeyo09u8r\
    mk3GJwXQFOn2Hwyjf72i6WIXVdcsMD1Dou7_6XzwtGp6plquKX1Lf6QJyXFH8wxgoLLKxaTt1dhUrIvrKk2Cuw83\
    h1bYWjl3mIELi7wsR9Iq5zqdGs1-0uNSj";
