//! Panics as diagnostics: a bug in one resource's code must not take the others down, nor the user's state.

use std::any::Any;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::tofu::diagnostics::Diagnostics;

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics logged in the client's format, and their places kept for the diagnostics, rather than printed as plain text.
pub fn note_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, message = message(info.payload()), "panic");
        PLACE.set(place);
    }));
}

/// The result of `work`, or the panic that ended it.
pub async fn caught<T>(rpc: &str, work: impl Future<Output = Result<T, Diagnostics>>) -> Result<T, Diagnostics> {
    // nothing of the work's own survives the panic; what it shares with others is behind locks, which poison
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|payload| {
        let mut found = Diagnostics::default();
        let detail = format!(
            "{} ({})\n\nThis is a bug in the provider: please report it with this message. What {rpc} had done until then is done; \
             the next plan shows what is left.",
            message(&*payload),
            PLACE.take(),
        );
        found.error(None, format!("the provider panicked in {rpc}"), detail);
        Err(found)
    })
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_diagnostic() {
        let work = async {
            tokio::task::yield_now().await;
            if true {
                panic!("no value");
            }
            Ok(1)
        };
        let found = caught("ReadResource", work).await.unwrap_err();
        assert_eq!(found.0[0].summary, "the provider panicked in ReadResource");
        assert!(found.0[0].detail.starts_with("no value ("), "{}", found.0[0].detail);
        assert_eq!(caught("ReadResource", async { Ok(1) }).await, Ok(1));
    }
}
