//! The card of an agent: which of its interfaces we can speak to.

use reqwest::Url;
use serde::Deserialize;

use crate::provider::output::plain_line;
use crate::provider::web::{origin, parse_address};

/// How many interfaces are named when none fits.
const NAMED: usize = 5;

/// Where requests go, and what they say of the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgentInterface {
    pub(super) url: Url,
    pub(super) tenant: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentCard {
    supported_interfaces: Vec<OfferedInterface>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfferedInterface {
    url: String,
    #[serde(default)]
    protocol_binding: String,
    #[serde(default)]
    protocol_version: String,
    tenant: Option<String>,
}

impl AgentInterface {
    /// The first interface of a card for JSON-RPC by version 1 of the protocol. It must be where the card is, for the
    /// headers of the settings go there.
    ///
    /// # Errors
    /// Says what the card offers instead.
    pub(super) fn of(card: &[u8], at: &Url) -> Result<Self, String> {
        let from = origin(at);
        let card: AgentCard = serde_json::from_slice(card)
            .map_err(|_| format!("{from} gives something else than an agent card of A2A 1.0"))?;
        // Other interfaces, also of older versions, may stand beside it; the order of the card is the agent's
        // preference.
        let fits = |offered: &&OfferedInterface| {
            let major = offered.protocol_version.split('.').next();
            offered.protocol_binding == "JSONRPC" && major == Some("1")
        };
        let Some(offered) = card.supported_interfaces.iter().find(fits) else {
            let named: Vec<String> = card
                .supported_interfaces
                .iter()
                .take(NAMED)
                .map(|offered| {
                    let words = format!("{} {}", offered.protocol_binding, offered.protocol_version);
                    // A card is written by whoever runs the agent, and this message is recorded: few, short and plain
                    // words (Invariant 8).
                    plain_line(words.as_bytes()).chars().take(60).collect()
                })
                .collect();
            let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
            return Err(format!(
                "the card at {from} has no interface for JSON-RPC of A2A 1.0; it has {named}"
            ));
        };
        let url =
            at.join(&offered.url).map_err(|_| format!("the card at {from} has an address that is none"))?;
        let url = parse_address(url.as_str()).map_err(|error| format!("the card at {from}: {error}"))?;
        if url.origin() != at.origin() {
            return Err(format!(
                "the card at {from} leads to another place, {}, which is not asked; if that is right, write it as `url`",
                origin(&url)
            ));
        }
        // The protocol is defined by protocol buffers, which write a text that is absent as an empty one.
        let tenant = offered.tenant.clone().filter(|tenant| !tenant.is_empty());
        Ok(Self { url, tenant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(interfaces: &Value) -> Result<AgentInterface, String> {
        let card = json!({"name": "a", "supportedInterfaces": interfaces}).to_string();
        AgentInterface::of(card.as_bytes(), &Url::parse("https://a.example/card.json").unwrap())
    }

    #[test]
    fn the_first_interface_that_fits_is_taken() {
        let offered = |url: &str, binding: &str, version: &str| json!({"url": url, "protocolBinding": binding, "protocolVersion": version});
        let taken = read(&json!([
            offered("https://a.example/grpc", "GRPC", "1.0"),
            offered("https://a.example/old", "JSONRPC", "0.3"),
            {"url": "/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "t"},
            offered("https://a.example/later", "JSONRPC", "1.0"),
        ]));
        let url = Url::parse("https://a.example/rpc").unwrap();
        assert_eq!(taken, Ok(AgentInterface { url, tenant: Some("t".to_owned()) }));
        let none = read(&json!([offered("https://a.example/", "JSONRPC", "0.3\u{1b}[31m")])).unwrap_err();
        let expected =
            "the card at https://a.example has no interface for JSON-RPC of A2A 1.0; it has JSONRPC 0.3";
        assert_eq!(none, expected);
        assert!(read(&json!([])).unwrap_err().ends_with("it has none"));
        for elsewhere in ["https://b.example/", "http://a.example/", "https://a.example:8443/", "//b.example"]
        {
            let refused = read(&json!([offered(elsewhere, "JSONRPC", "1.0")])).unwrap_err();
            assert!(refused.contains("leads to another place"), "{refused}");
        }
        let card = AgentInterface::of(b"{\"url\": \"x\"}", &Url::parse("https://a.example/").unwrap());
        assert_eq!(card.unwrap_err(), "https://a.example gives something else than an agent card of A2A 1.0");
    }
}
