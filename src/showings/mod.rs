//! The shared arrangement of an epoch: what is known of every showing, by request.

use std::marker::PhantomData;

/// The showings of one epoch.
pub struct Showings<'scope> {
    _scope: PhantomData<&'scope ()>,
}
