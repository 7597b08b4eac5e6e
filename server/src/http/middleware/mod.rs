//! What happens to requests around the routes, one file each.
pub mod authenticate;
pub mod catch_panic;
pub mod count_errors;
pub mod leave_connections;
pub mod observe;
