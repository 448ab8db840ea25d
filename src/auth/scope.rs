use std::fmt;
use std::str::FromStr;

macro_rules! scopes {
    ($($variant:ident = $text:literal),* $(,)?) => {
        /// One right of a service token.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each says what it is")]
        pub enum Scope { $($variant),* }

        impl Scope {
            /// Every scope there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As written in a token.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}
scopes! {
    ReadMemories = "read:memories", WriteMemories = "write:memories",
    ReadCalls = "read:calls", WriteCalls = "write:calls",
    ReadCallers = "read:callers", WriteCallers = "write:callers",
    ReadKnowledge = "read:knowledge", WriteKnowledge = "write:knowledge",
    ReadConfig = "read:config", WriteConfig = "write:config",
    ReadBots = "read:bots", WriteBots = "write:bots",
    ReadConversations = "read:conversations", WriteConversations = "write:conversations",
    ReadLeads = "read:leads", WriteLeads = "write:leads",
    ReadNotifications = "read:notifications", WriteNotifications = "write:notifications",
}

impl FromStr for Scope {
    type Err = crate::id::InvalidId;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|scope| scope.as_str() == s)
            .ok_or(crate::id::InvalidId("a scope is read: or write: and one of memories, calls, callers, knowledge, config, bots, conversations, leads, notifications"))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The scopes of one token. Words it does not know are ignored: they grant nothing here.
#[derive(Debug, Clone)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    pub(super) fn parse(claim: &str) -> Self {
        Self(claim.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect())
    }

    /// Whether `scope` was granted.
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}
