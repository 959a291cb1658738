//! Who an event is for, within what the access table allows.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::contract::{EventType, Namespace, Refusal, Role, Roles, is_id};

/// `roles` and `users` narrow; `owners` are those whom `own` lets see the event.
pub struct Audience {
    pub roles: Roles,
    pub users: Option<Vec<String>>,
    pub owners: Vec<String>,
    pub excluded_users: Vec<String>,
    pub excluded_session: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Target {
    #[serde(deserialize_with = "present")]
    roles: Option<Vec<Role>>,
    #[serde(deserialize_with = "present")]
    user_ids: Option<Vec<String>>,
    #[serde(deserialize_with = "present")]
    owners: Option<Vec<String>>,
    #[serde(deserialize_with = "present")]
    exclude_user_ids: Option<Vec<String>>,
    #[serde(deserialize_with = "present")]
    exclude_session_id: Option<String>,
}

/// The fields of an event's data that have a say in who gets it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataHead<'a> {
    #[serde(borrow, default)]
    customer_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    target_roles: Option<&'a RawValue>,
}

/// Null is not absent: what is there is read, else a mistake would become a broadcast.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Audience {
    pub fn read(
        event_type: EventType,
        to: Option<&RawValue>,
        data: &RawValue,
    ) -> Result<Self, Refusal> {
        let mut audience = Self::from_target(read_target(to)?)?;
        let head: DataHead = serde_json::from_str(data.get())
            .map_err(|error| invalid_payload(&error.to_string()))?;
        let customer = head
            .customer_id
            .and_then(|id| serde_json::from_str::<String>(id.get()).ok());
        if let Some(customer) = customer
            && !audience.owners.contains(&customer)
        {
            audience.owners.push(customer);
        }
        if let Some(roles) = head.target_roles
            && Some(event_type.namespace) == Namespace::named("system")
        {
            let roles: Vec<Role> = serde_json::from_str(roles.get())
                .map_err(|error| invalid_payload(&format!("`data.targetRoles`: {error}")))?;
            if roles.is_empty() {
                return Err(invalid_payload("`data.targetRoles` is empty"));
            }
            audience.roles &= set_of(&roles);
        }
        Ok(audience)
    }

    fn from_target(target: Target) -> Result<Self, Refusal> {
        if target.roles.as_ref().is_some_and(Vec::is_empty) {
            return Err(invalid_target("`to.roles` is empty"));
        }
        let users = target
            .user_ids
            .map(|ids| read_ids("userIds", ids, false))
            .transpose()?;
        let owners = target
            .owners
            .map(|ids| read_ids("owners", ids, false))
            .transpose()?;
        let excluded_users = target
            .exclude_user_ids
            .map(|ids| read_ids("excludeUserIds", ids, true))
            .transpose()?;
        if target
            .exclude_session_id
            .as_deref()
            .is_some_and(|id| !is_id(id))
        {
            return Err(invalid_target("`to.excludeSessionId` is not an id"));
        }
        Ok(Self {
            roles: target.roles.as_deref().map_or(Roles::MAX, set_of),
            users,
            owners: owners.unwrap_or_default(),
            excluded_users: excluded_users.unwrap_or_default(),
            excluded_session: target.exclude_session_id,
        })
    }
}

fn read_target(to: Option<&RawValue>) -> Result<Target, Refusal> {
    match to.map(RawValue::get) {
        None => Ok(Target::default()),
        // Serde would take an array of the fields' values, too.
        Some(text) if !text.starts_with('{') => Err(invalid_target("`to` is not an object")),
        Some(text) => {
            serde_json::from_str(text).map_err(|error| invalid_target(&error.to_string()))
        }
    }
}

fn read_ids(field: &str, mut ids: Vec<String>, may_be_empty: bool) -> Result<Vec<String>, Refusal> {
    if (ids.is_empty() && !may_be_empty) || !ids.iter().all(|id| is_id(id)) {
        return Err(invalid_target(&format!(
            "`to.{field}` is not a list of ids"
        )));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn set_of(roles: &[Role]) -> Roles {
    roles.iter().fold(0, |set, role| set | role.bit())
}

fn invalid_target(message: &str) -> Refusal {
    Refusal::new("invalid_target", message)
}

fn invalid_payload(message: &str) -> Refusal {
    Refusal::new("invalid_payload", message)
}
