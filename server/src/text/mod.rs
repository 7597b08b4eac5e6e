//! Text to token ids and back.
pub mod chat_template;
mod date;
mod gguf_tokenizer;
pub mod grammars;
mod python_json;
pub mod stop;
pub mod stream;
mod token_bytes;
pub mod tokenizer;
pub mod tool_calls;

pub use chat_template::{ChatMessage, ChatTemplate};
pub use grammars::GrammarSource;
pub use stop::StopMatcher;
pub use stream::TokenStream;
pub use tokenizer::{TextError, Tokenizer};
pub use tool_calls::{CallReading, ToolCall, ToolCallReader, ToolForm};
