"""The names of libcloud's storage providers."""

from __future__ import annotations

# libcloud's storage providers that have a driver; the host has no libcloud. A test compares the two.
STORAGE_PROVIDERS = (
    "ALIYUN_OSS", "AURORAOBJECTS", "AZURE_BLOBS", "BACKBLAZE_B2", "CLOUDFILES", "DIGITALOCEAN_SPACES", "DUMMY",
    "GOOGLE_STORAGE", "KTUCLOUD", "LOCAL", "MINIO", "NIMBUS", "NINEFOLD", "OPENSTACK_SWIFT", "OVH", "S3",
    "S3_AP_NORTHEAST", "S3_AP_NORTHEAST1", "S3_AP_NORTHEAST2", "S3_AP_SOUTH", "S3_AP_SOUTHEAST", "S3_AP_SOUTHEAST2",
    "S3_CA_CENTRAL", "S3_CN_NORTH", "S3_CN_NORTHWEST", "S3_EU_CENTRAL", "S3_EU_NORTH1", "S3_EU_WEST", "S3_EU_WEST2",
    "S3_RGW", "S3_RGW_OUTSCALE", "S3_SA_EAST", "S3_US_EAST2", "S3_US_GOV_WEST", "S3_US_WEST", "S3_US_WEST_OREGON",
    "SCALEWAY",
)  # fmt: skip
