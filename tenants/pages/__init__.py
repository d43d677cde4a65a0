"""The pages of `tenants`: thin views, one module for each subject."""
