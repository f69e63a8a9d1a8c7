//! The words that titles are made of.

/// The genres of titles.
#[rustfmt::skip]
pub const GENRES: [&str; 12] = [
    "Action", "Animation", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Horror",
    "Romance", "Science Fiction", "Thriller", "Western",
];

/// What a thing is like.
#[rustfmt::skip]
pub const QUALITIES: [&str; 48] = [
    "Amber", "Ancient", "Bitter", "Blind", "Borrowed", "Brave", "Broken", "Burning", "Careful",
    "Cold", "Copper", "Crooked", "Distant", "Electric", "Empty", "Endless", "Faithful", "Final",
    "Forgotten", "Fragile", "Frozen", "Gentle", "Golden", "Hidden", "Hollow", "Invisible",
    "Last", "Little", "Lonely", "Lost", "Midnight", "Northern", "Paper", "Perfect", "Quiet",
    "Reckless", "Restless", "Sacred", "Scarlet", "Second", "Secret", "Silent", "Silver",
    "Stolen", "Strange", "Sunken", "Unspoken", "Wild",
];

/// What a title is about.
#[rustfmt::skip]
pub const THINGS: [&str; 64] = [
    "Accord", "Alibi", "Archive", "Atlas", "Bargain", "Bridge", "Brotherhood", "Cabinet",
    "Castle", "Choir", "Circus", "Colony", "Compass", "Crossing", "Crown", "Daughter",
    "Detective", "Dynasty", "Echo", "Embassy", "Empire", "Engine", "Exile", "Ferry", "Forest",
    "Frontier", "Garden", "Ghost", "Harbour", "Heist", "Heir", "Horizon", "Hotel",
    "Inheritance", "Island", "Journey", "Kingdom", "Kitchen", "Lantern", "Legacy", "Letter",
    "Lighthouse", "Machine", "Mirror", "Mountain", "Oath", "Orchard", "Orchestra", "Promise",
    "Province", "Recipe", "River", "School", "Season", "Signal", "Sister", "Stranger", "Summer",
    "Tailor", "Tide", "Verdict", "Voyage", "Winter", "Witness",
];

/// Cities.
#[rustfmt::skip]
pub const PLACES: [&str; 40] = [
    "Aberdeen", "Accra", "Antwerp", "Athens", "Bergen", "Bilbao", "Bogota", "Brooklyn", "Cairo",
    "Cardiff", "Casablanca", "Cordoba", "Dakar", "Galway", "Genoa", "Ghent", "Havana",
    "Helsinki", "Istanbul", "Jaipur", "Kyoto", "Lagos", "Lima", "Lisbon", "Macau", "Manila",
    "Marrakesh", "Memphis", "Montreal", "Nairobi", "Naples", "Odessa", "Osaka", "Porto",
    "Prague", "Quito", "Riga", "Santiago", "Seoul", "Trieste",
];

/// First names.
#[rustfmt::skip]
pub const PEOPLE: [&str; 40] = [
    "Ada", "Amara", "Anton", "Beatriz", "Bruno", "Carmen", "Clara", "Dmitri", "Edith", "Elias",
    "Esther", "Farid", "Felix", "Freya", "Greta", "Hana", "Hugo", "Ines", "Ivan", "Jonas",
    "Julia", "Kofi", "Leila", "Lucia", "Magnus", "Marta", "Mateo", "Mina", "Nadia", "Niko",
    "Olga", "Oscar", "Paloma", "Ravi", "Rosa", "Samir", "Sofia", "Tomas", "Vera", "Yuki",
];

/// Materials and weather.
#[rustfmt::skip]
pub const MATTERS: [&str; 32] = [
    "Ashes", "Blood", "Bone", "Chalk", "Clay", "Cinnamon", "Dust", "Fire", "Fog", "Glass",
    "Gold", "Honey", "Ice", "Iron", "Ivory", "Jazz", "Lightning", "Marble", "Milk", "Moonlight",
    "Rain", "Roses", "Salt", "Sand", "Shadows", "Silk", "Smoke", "Snow", "Stone", "Thunder",
    "Velvet", "Wine",
];

/// What is done about a place or a person.
#[rustfmt::skip]
pub const DOINGS: [&str; 16] = [
    "Before", "Beyond", "Chasing", "Escaping", "Finding", "Forgetting", "Inside", "Leaving",
    "Loving", "Meeting", "Missing", "Remembering", "Saving", "Searching for", "Waiting for",
    "Without",
];

/// Trades.
#[rustfmt::skip]
pub const TRADES: [&str; 12] = [
    "Baker", "Banker", "Butcher", "Captain", "Clockmaker", "Dancer", "Doctor", "Fisherman",
    "Gambler", "Painter", "Pilot", "Thief",
];
