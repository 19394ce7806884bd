//! Compiles the examples of the guide.

/// docs/guide/tasks.md
#[doc = include_str!("../../../docs/guide/tasks.md")]
struct Tasks;

/// docs/guide/objects.md
#[doc = include_str!("../../../docs/guide/objects.md")]
struct Objects;

/// docs/guide/actors.md
#[doc = include_str!("../../../docs/guide/actors.md")]
struct Actors;

/// docs/guide/failures.md
#[doc = include_str!("../../../docs/guide/failures.md")]
struct Failures;

/// docs/guide/packages.md
#[doc = include_str!("../../../docs/guide/packages.md")]
struct Packages;

/// docs/guide/resources.md
#[doc = include_str!("../../../docs/guide/resources.md")]
struct Resources;

/// docs/guide/texts.md
#[doc = include_str!("../../../docs/guide/texts.md")]
struct Texts;

/// docs/guide/outside.md
#[doc = include_str!("../../../docs/guide/outside.md")]
struct Outside;
